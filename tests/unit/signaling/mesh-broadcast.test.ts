import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { MeshMember, ServerMessage } from '../../../src/protocol/signaling.ts';
import { broadcastDelayMs, MeshBroadcast } from '../../../signaling/mesh-broadcast.ts';
import { MODEL, peerId } from './scheduler/instances.ts';

type Mesh = Extract<ServerMessage, { type: 'mesh' }>;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function rig() {
  const sent: string[] = [];
  const state = { memberCount: 1 };
  const mesh = (): Mesh => ({
    type: 'mesh',
    members: Array.from({ length: state.memberCount }, (_, index): MeshMember => ({
      peer: peerId(index),
      model: MODEL,
      layerStart: 0,
      layerEnd: 8,
      state: 'serving',
      adapter: 'test',
    })),
    covered: [],
  });
  const broadcast = new MeshBroadcast({ mesh, sendAll: (json) => sent.push(json) });
  const members = () => sent.map((json) => (JSON.parse(json) as Mesh).members.length);
  return { broadcast, state, members };
}

it('sends many changes as one, with what is true at the end', () => {
  const { broadcast, state, members } = rig();
  for (const count of [1, 2, 3]) {
    state.memberCount = count;
    broadcast.schedule();
  }
  vi.runAllTimers();
  expect(members()).toEqual([3]);
});

it('waits longer the more members there are, a second and more above a hundred', () => {
  expect([0, 1, 3].map(broadcastDelayMs).every((ms) => ms < 50)).toBe(true);
  for (const count of [101, 200, 1024]) expect(broadcastDelayMs(count)).toBeGreaterThanOrEqual(1000);
  expect(broadcastDelayMs(1024)).toBeLessThanOrEqual(10_000);
  const { broadcast, state, members } = rig();
  state.memberCount = 200;
  broadcast.schedule();
  vi.advanceTimersByTime(1000);
  expect(members()).toEqual([]);
  vi.runAllTimers();
  expect(members()).toEqual([200]);
});

it('says nothing that everybody knows, and says it where somebody may know something else', () => {
  const { broadcast, state, members } = rig();
  const change = (count: number) => {
    state.memberCount = count;
    broadcast.schedule();
  };
  change(1);
  vi.runAllTimers();
  change(2);
  change(1);
  vi.runAllTimers();
  expect(members()).toEqual([1]);
  // A newcomer hears of two members, and then there is one again.
  change(2);
  broadcast.toldAlone();
  change(1);
  vi.runAllTimers();
  expect(members()).toEqual([1, 1]);
  broadcast.toldAlone();
  change(1);
  vi.runAllTimers();
  expect(members()).toEqual([1, 1]);
});

it('says nothing once it is stopped', () => {
  const { broadcast, members } = rig();
  broadcast.schedule();
  broadcast.stop();
  broadcast.schedule();
  vi.runAllTimers();
  expect(members()).toEqual([]);
});
