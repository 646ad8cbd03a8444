import type { GenerateEvent, GenerateResult } from '../client/generate.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { Route } from '../protocol/route.ts';
import type { TokenLogProbability } from '../protocol/sampling.ts';
import { notesOf } from './answer-notes.ts';

/** What `--top-logprobs` prints of a token. */
export type TokenScores = TokenLogProbability & {
  readonly topLogProbabilities: readonly TokenLogProbability[];
};

export interface StreamedAnswer {
  readonly result: GenerateResult;
  readonly logProbabilities: readonly TokenScores[];
  /** The last one. */
  readonly route: Route | null;
}

/** Shows an answer while it comes. @param output of its text; null for none. @throws what the generation does. */
export async function streamAnswer(
  events: AsyncIterable<GenerateEvent>,
  output: Pick<NodeJS.WritableStream, 'write'> | null,
): Promise<StreamedAnswer> {
  const logProbabilities: TokenScores[] = [];
  let route: Route | null = null;
  for await (const event of events) {
    for (const note of notesOf(event)) process.stderr.write(`${note}\n`);
    if (event.type === 'route') route = event.route;
    if (event.type === 'token') {
      const { tokenId, logProbability, topLogProbabilities } = event;
      logProbabilities.push({ tokenId, logProbability, topLogProbabilities });
      output?.write(event.text);
    }
    if (event.type === 'done') {
      output?.write('\n');
      return { result: event.result, logProbabilities, route };
    }
  }
  throw new SkeinError('internal', 'The generation ended without a result.');
}
