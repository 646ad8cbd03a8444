import type { ContributorState } from '../contributor/contributor-state.ts';
import type { ConnectionState } from '../mesh/mesh-connection.ts';
import type { LiveSession } from '../mesh/open-session.ts';
import type { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { CountingByteStore } from './counting-byte-store.ts';
import { describeConnection, describeState, summarizeConnection, summarizeState } from './join-states.ts';
import { ProgressLine } from './progress-line.ts';
import { LoadingMeter } from './loading-meter.ts';

/** Says what happens while a machine lends its GPU. */
export interface Voice {
  connection(state: ConnectionState<LiveSession>): void;
  contributor(state: ContributorState, self: PeerId | null): void;
  /** A peer was cut off for what it sent. */
  misbehaved(error: SkeinError): void;
}

/**
 * For people.
 * @param origin whence weights come that are not on this machine.
 * @param disk where those are that are.
 */
export function plainVoice(origin: string, disk: Pick<CountingByteStore, 'readBytes'>): Voice {
  const progress = new ProgressLine(process.stderr);
  const meter = new LoadingMeter(origin, () => disk.readBytes);
  let lastLine = '';
  const say = (line: string) => {
    if (line === lastLine) return;
    lastLine = line;
    progress.clear();
    console.log(line);
  };
  let isAway = false;
  return {
    connection: (state) => {
      const line = describeConnection(state, isAway);
      isAway = state.phase === 'reconnecting';
      if (line !== null) say(line);
    },
    contributor: (state) => {
      say(describeState(state));
      if (!('totalBytes' in state)) {
        meter.reset();
      } else if (state.totalBytes > 0) {
        const words = meter.words(state.loadedBytes, performance.now());
        progress.show('Loading', state.loadedBytes, state.totalBytes, words);
      }
    },
    misbehaved: ({ message }) => say(message),
  };
}

/** For programs: a line when the phase, the slice or the number of answers left changes; `atMs` is milliseconds since 1970. */
export function jsonVoice(): Voice {
  let lastKey = '';
  const say = (event: object) => {
    const key = JSON.stringify(event);
    if (key === lastKey) return;
    lastKey = key;
    console.log(JSON.stringify({ atMs: Date.now(), ...event }));
  };
  let isAway = false;
  return {
    connection: (state) => {
      const summary = summarizeConnection(state, isAway);
      isAway = state.phase === 'reconnecting';
      if (summary !== null) say(summary);
    },
    contributor: (state, self) => say({ ...summarizeState(state), peer: self }),
    misbehaved: ({ code, message }) => say({ cutOff: { code, message } }),
  };
}
