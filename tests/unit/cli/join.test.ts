import { describe, expect, it } from 'vitest';
import {
  describeConnection,
  describeState,
  summarizeConnection,
  summarizeState,
} from '../../../src/cli/join-states.ts';
import { parseServerUrl } from '../../../src/mesh/server-url.ts';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import { EMPTY_MESH } from '../../../src/mesh/mesh-connection.ts';
import type { ConnectionState } from '../../../src/mesh/mesh-connection.ts';
import type { AssignedSlice, ContributorState } from '../../../src/contributor/contributor-state.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { CAPABILITY, TINY } from '../contributor/fakes.ts';

const SLICE: AssignedSlice = {
  model: TINY.id,
  layerStart: 2,
  layerEnd: 5,
  layerCount: 8,
  quantization: 'none',
};

describe('the address of a server', () => {
  it.each([
    ['http://localhost:3000', 'http://localhost:3000/'],
    ['localhost:3000', 'http://localhost:3000/'],
    ['https://mesh.example/contribute/', 'https://mesh.example/contribute/'],
    ['192.168.1.5:80', 'http://192.168.1.5/'],
  ])('%s is %s', (text, url) => {
    expect(parseServerUrl(text)).toBe(url);
  });

  it.each(['', 'http://', 'ftp://mesh.example', 'file:///etc/passwd', 'two words'])(
    'cannot be "%s"',
    async (text) => {
      expect((await refusalOf(() => parseServerUrl(text))).code).toBe('bad-argument');
    },
  );
});

const LOST = new SkeinError('device-lost', 'driver reset');
const REBUILDING: ContributorState = {
  phase: 'rebuilding',
  capability: CAPABILITY,
  slice: SLICE,
  error: LOST,
  loadedBytes: 3,
  totalBytes: 9,
};

describe('what a state is told as', () => {
  const states: [ContributorState, string][] = [
    [{ phase: 'idle' }, 'Stopped.'],
    [
      { phase: 'waiting', capability: CAPABILITY, waitingFor: 'work' },
      'Lending Test GPU. Waiting for work …',
    ],
    [
      { phase: 'serving', capability: CAPABILITY, slice: SLICE, stats: NO_STATS },
      'Serving layers 2 to 4 of the 8 of skein-tiny. Press Ctrl-C to stop.',
    ],
    [REBUILDING, 'driver reset Loading layers 2 to 4 of the 8 of skein-tiny again …'],
    [{ phase: 'paused', reason: 'battery-low' }, 'The battery is low. Lending again when it charges …'],
  ];

  it.each(states)('%o', (state, words) => {
    expect(describeState(state)).toBe(words);
  });

  it('leaves out what changes all the time, so that a change is news', () => {
    const serving = (tokens: number): ContributorState => ({
      phase: 'serving',
      capability: CAPABILITY,
      slice: SLICE,
      stats: { ...NO_STATS, tokens },
    });
    expect(summarizeState(serving(1))).toEqual(summarizeState(serving(2)));
    expect(summarizeState(serving(1))).toEqual({ phase: 'serving', slice: SLICE });
    expect(summarizeState(REBUILDING)).toEqual({ phase: 'rebuilding', slice: SLICE, error: LOST.toShape() });
    expect(summarizeState({ ...REBUILDING, loadedBytes: 4 })).toEqual(summarizeState(REBUILDING));
    const paused = { phase: 'paused', reason: 'frozen' } as const;
    expect(summarizeState(paused)).toEqual(paused);
    const error = new SkeinError('no-adapter', 'none');
    expect(summarizeState({ phase: 'failed', error })).toEqual({ phase: 'failed', error: error.toShape() });
  });
});

describe('what is told of the connection', () => {
  const session = { self: 'ab'.repeat(16) as PeerId };
  const error = new SkeinError('server-lost', 'The server closed the connection.');
  const online: ConnectionState<typeof session> = { phase: 'online', session, mesh: EMPTY_MESH };
  const cases: [ConnectionState<typeof session>, boolean, object | null, string | null][] = [
    [{ phase: 'connecting' }, false, null, null],
    [online, false, null, null],
    [
      { phase: 'reconnecting', session, mesh: EMPTY_MESH, error, retryInMs: 340 },
      false,
      { phase: 'reconnecting', error: error.toShape() },
      'The server closed the connection. Answers under way go on. Trying again in 0.3 s.',
    ],
    [online, true, { phase: 'resumed', peer: session.self }, 'The server is back.'],
    [
      { phase: 'offline', error, retryInMs: 2_000 },
      true,
      { phase: 'offline', error: error.toShape() },
      'The server closed the connection. Trying again in 2.0 s.',
    ],
  ];

  it.each(cases)('%o after being away: %s', (state, wasAway, summary, words) => {
    expect(summarizeConnection(state, wasAway)).toEqual(summary);
    expect(describeConnection(state, wasAway)).toBe(words);
  });
});
