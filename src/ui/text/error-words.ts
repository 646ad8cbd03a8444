import { LOCAL_NETWORK_ACCESS } from '../../mesh/local-network-access.ts';
import type { ErrorCode, ErrorShape } from '../../protocol/errors.ts';

/** What a person needs before the details: what happened, and what to do. */
export interface ErrorWords {
  readonly title: string;
  readonly advice: string;
}

const AGAIN = 'Try again.';

const WORDS: Readonly<Record<ErrorCode, ErrorWords>> = {
  'bad-argument': {
    title: 'This cannot be computed as asked',
    advice: 'Shorten the conversation or lower the longest answer in Settings, or start over.',
  },
  'bad-frame': {
    title: 'The tabs did not understand each other',
    advice: 'Reload this page so that every tab runs the same version, then try again.',
  },
  'bad-message': {
    title: 'The server and this page did not understand each other',
    advice: 'Reload this page.',
  },
  'model-missing': {
    title: 'The model could not be fetched',
    advice: 'Check the connection and that the server still has the model, then try again.',
  },
  'model-corrupt': {
    title: 'The model’s files are damaged',
    advice: 'The person who runs the server has to replace them.',
  },
  'model-unsupported': {
    title: 'This model is of a kind Skein does not run',
    advice: 'Choose another model.',
  },
  'no-adapter': {
    title: 'No graphics adapter',
    advice: 'Switch on hardware acceleration in the browser’s settings.',
  },
  'device-lost': {
    title: 'The GPU went away',
    advice: 'A driver reset or a full memory does this. Start again; with less memory if it keeps happening.',
  },
  'out-of-memory': {
    title: 'Not enough GPU memory',
    advice: 'Close what else uses the GPU, or allow less memory, and start again.',
  },
  'no-route': {
    title: 'No tabs can compute this now',
    advice:
      'Every layer of the model needs a tab that holds it. Lend this tab’s GPU, or ask others to open the contribute page.',
  },
  busy: { title: 'The tabs are busy', advice: 'Try again in a moment.' },
  'peer-lost': { title: 'A tab left while it was answering', advice: AGAIN },
  'server-lost': {
    title: 'The server is away',
    advice: 'Skein reconnects by itself; try again when it is connected.',
  },
  timeout: { title: 'No sign of life for too long', advice: AGAIN },
  aborted: { title: 'Stopped', advice: AGAIN },
  internal: { title: 'Something went wrong', advice: 'Try again; if it stays, reload this page.' },
};

const LOCAL_NETWORK_BLOCKED: ErrorWords = {
  title: 'A browser keeps its page from the local network',
  advice:
    'If it is this one: allow access to the local network in the site settings, behind the icon left of the address, and reload.',
};

export function errorWords(code: ErrorCode): ErrorWords {
  return WORDS[code];
}

/** As `errorWords`, and more where the error says more than its code. */
export function wordsOf({ code, data }: Pick<ErrorShape, 'code' | 'data'>): ErrorWords {
  return data?.['blockedBy'] === LOCAL_NETWORK_ACCESS ? LOCAL_NETWORK_BLOCKED : errorWords(code);
}
