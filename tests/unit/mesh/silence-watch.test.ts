import { describe, expect, it } from 'vitest';
import type { HopState } from '../../../src/mesh/find-culprit.ts';
import {
  FIRST_QUESTION_MS,
  MOST_PATIENCE_MS,
  QUESTION_INTERVAL_MS,
  SilenceWatch,
} from '../../../src/mesh/silence-watch.ts';
import type { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { DIAL_TIMEOUT_MS, STEP_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import { peerId, settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const PROMPT_TOKENS = 40;

/** A hop as it answers when it is asked. */
interface FakeHop {
  receivedUpTo: number;
  sentUpTo: number;
  steps: number;
  typicalStepMs: number;
  /** Null answers nothing. */
  answersAfterMs: number | null;
  /** Passes it makes between two questions. */
  stepsPerQuestion: number;
}

/** A route of hops that all wait for rows, watched over. */
function watched(hopCount = 3, isOpened = true) {
  const clock = new ManualClock();
  const hops = Array.from({ length: hopCount }, (): FakeHop => {
    return {
      receivedUpTo: 0,
      sentUpTo: 0,
      steps: 5,
      typicalStepMs: 100,
      answersAfterMs: 1,
      stepsPerQuestion: 0,
    };
  });
  const hung: { readonly error: SkeinError; readonly accuser: PeerId | null; readonly atMs: number }[] = [];
  const askedAtMs: number[] = [];
  const dialled = { now: true };
  const peers = hops.map((_, index) => peerId(index + 1));
  const watch: SilenceWatch = new SilenceWatch({
    clock,
    hops: peers,
    ask: (nonce) => {
      askedAtMs.push(clock.now());
      hops.forEach((hop, index) => {
        hop.steps += hop.stepsPerQuestion;
        const isReachable =
          dialled.now && hops.slice(0, index).every(({ answersAfterMs }) => answersAfterMs !== null);
        if (hop.answersAfterMs === null || !isReachable) return;
        const state: HopState = { ...hop };
        clock.after(hop.answersAfterMs, () => watch.answer(index, nonce, state));
      });
      return dialled.now ? Promise.resolve() : new Promise(() => undefined);
    },
    onHung: (error, accuser) => hung.push({ error, accuser, atMs: clock.now() }),
  });
  if (isOpened) watch.opened({ upTo: PROMPT_TOKENS, by: null }, true);
  const token = (position: number) => watch.token({ upTo: position + 1, by: peers.at(-1) ?? null });
  /** In small steps, so that promises have their turn. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(Math.min(50, ms - passed));
      await settled();
    }
  };
  const hop = (index: number): FakeHop => {
    const found = hops[index];
    if (!found) throw new Error(`there is no hop ${index}`);
    return found;
  };
  const everyone = (changes: Partial<FakeHop>) => hops.forEach((each) => Object.assign(each, changes));
  return { clock, watch, hops, hop, everyone, hung, askedAtMs, dialled, token, pass };
}

describe('a silent route', () => {
  it('is asked after a second, and then every three', async () => {
    const { everyone, hop, askedAtMs, pass } = watched();
    everyone({ receivedUpTo: 40, sentUpTo: 40 });
    Object.assign(hop(1), { sentUpTo: 0, stepsPerQuestion: 1 });
    Object.assign(hop(2), { receivedUpTo: 0, sentUpTo: 0 });
    await pass(10_000);
    expect(askedAtMs).toEqual([0, 1, 2].map((count) => FIRST_QUESTION_MS + count * QUESTION_INTERVAL_MS));
  });

  it('is not asked while tokens come, nor between those of a slow one', async () => {
    const { token, pass, askedAtMs } = watched();
    for (let count = 0; count < 10; count += 1) {
      token(40 + count);
      await pass(900);
    }
    expect(askedAtMs).toEqual([]);
    for (let count = 0; count < 40; count += 1) {
      token(50 + count);
      await pass(2_000);
    }
    const asked = askedAtMs.length;
    for (let count = 0; count < 10; count += 1) {
      token(90 + count);
      await pass(7_000);
    }
    expect(askedAtMs).toHaveLength(asked);
  });

  it.each([0, 1, 2])('names hop %i that answers nothing, and who asked it', async (silent) => {
    const { everyone, hop, hung, token, pass, clock } = watched();
    token(40);
    everyone({ receivedUpTo: 41, sentUpTo: 41 });
    hop(silent).answersAfterMs = null;
    await pass(6_000);
    expect(hung).toMatchObject([
      {
        error: { code: 'timeout', data: { peer: peerId(silent + 1) } },
        accuser: silent === 0 ? null : peerId(silent),
      },
    ]);
    expect(hung[0]?.atMs).toBeLessThanOrEqual(5_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([0, 1, 2])('names hop %i that has work and computes nothing', async (stalled) => {
    const { hops, hung, token, pass } = watched();
    token(40);
    hops.forEach((hop, index) => {
      Object.assign(hop, { receivedUpTo: index <= stalled ? 41 : 40, sentUpTo: index < stalled ? 41 : 40 });
      // The others work for other requests.
      hop.stepsPerQuestion = index === stalled ? 0 : 3;
    });
    await pass(6_000);
    // What is known of it came through the hop before, which could have made it up.
    const accuser = stalled === 0 ? null : peerId(stalled);
    expect(hung).toMatchObject([
      { error: { code: 'timeout', data: { peer: peerId(stalled + 1) } }, accuser },
    ]);
    expect(hung[0]?.atMs).toBeLessThanOrEqual(5_000);
  });

  it('never names a slow stage whose passes go on, however long its rows wait for blocks', async () => {
    const { hop, everyone, hung, token, pass } = watched();
    token(40);
    everyone({ receivedUpTo: 40, sentUpTo: 40 });
    Object.assign(hop(0), { receivedUpTo: 41, stepsPerQuestion: 1 });
    await pass(2 * STEP_TIMEOUT_MS);
    expect(hung).toEqual([]);
    Object.assign(hop(0), { sentUpTo: 41 });
    token(41);
  });

  it('does not believe for ever that a stage computes for others', async () => {
    const { hop, everyone, hung, token, pass } = watched();
    token(40);
    everyone({ receivedUpTo: 40, sentUpTo: 40 });
    Object.assign(hop(0), { receivedUpTo: 41, stepsPerQuestion: 1 });
    await pass(MOST_PATIENCE_MS + 10_000);
    expect(hung).toMatchObject([{ error: { code: 'timeout', data: { peer: peerId(1) } } }]);
  });

  it('gives a stage of slow passes time for one', async () => {
    const { hop, everyone, hung, pass } = watched();
    everyone({ receivedUpTo: 0, sentUpTo: 0 });
    Object.assign(hop(0), { receivedUpTo: 40, typicalStepMs: 2_000 });
    await pass(9_000);
    expect(hung).toEqual([]);
    await pass(6_000);
    expect(hung).toMatchObject([{ error: { data: { peer: peerId(1) } } }]);
  });

  it('waits for a hop that sends again what the next one lacks, though nobody computes', async () => {
    const { hop, everyone, hung, watch, pass } = watched(2, false);
    watch.opened({ upTo: 100, by: null }, true);
    everyone({ receivedUpTo: 0, sentUpTo: 0 });
    // It says first where it stands itself.
    Object.assign(hop(0), { receivedUpTo: 100, sentUpTo: 96 });
    await pass(1_500);
    for (let sent = 0; sent < 96; sent += 16) {
      Object.assign(hop(0), { sentUpTo: sent });
      Object.assign(hop(1), { receivedUpTo: sent, sentUpTo: sent });
      await pass(2_000);
    }
    expect(hung).toEqual([]);
  });

  it('names two that contradict each other, when they do it twice', async () => {
    const { hop, everyone, hung, token, pass } = watched();
    token(40);
    everyone({ receivedUpTo: 41, sentUpTo: 41 });
    Object.assign(hop(1), { receivedUpTo: 40, sentUpTo: 40 });
    await pass(FIRST_QUESTION_MS + 1_000);
    expect(hung).toEqual([]);
    await pass(4_000);
    expect(hung).toMatchObject([{ error: { data: { peer: peerId(2), otherPeer: peerId(1) } } }]);
  });

  it('forgets a contradiction that went away', async () => {
    const { hop, everyone, hung, token, pass } = watched();
    token(40);
    everyone({ receivedUpTo: 41, sentUpTo: 41 });
    Object.assign(hop(1), { receivedUpTo: 40, sentUpTo: 40 });
    await pass(FIRST_QUESTION_MS + 1_000);
    Object.assign(hop(1), { receivedUpTo: 41, stepsPerQuestion: 1 });
    await pass(3_000);
    Object.assign(hop(1), { receivedUpTo: 40, sentUpTo: 40 });
    await pass(3_000);
    expect(hung).toEqual([]);
  });

  it('names a last hop that keeps its tokens to itself, but lets it dial first', async () => {
    const said = watched();
    said.token(40);
    said.everyone({ receivedUpTo: 41, sentUpTo: 41 });
    await said.pass(6_000);
    expect(said.hung).toMatchObject([{ error: { data: { peer: peerId(3) } } }]);
    const dialling = watched(3, false);
    dialling.watch.opened({ upTo: 40, by: null }, false);
    dialling.everyone({ receivedUpTo: 40, sentUpTo: 40 });
    await dialling.pass(DIAL_TIMEOUT_MS);
    expect(dialling.hung).toEqual([]);
    await dialling.pass(6_000);
    expect(dialling.hung).toMatchObject([{ error: { data: { peer: peerId(3) } } }]);
  });

  it('does not count a dial as silence of whom it is for', async () => {
    const { dialled, hung, pass, askedAtMs } = watched(3, false);
    dialled.now = false;
    await pass(DIAL_TIMEOUT_MS);
    expect(hung).toEqual([]);
    expect(askedAtMs.length).toBeGreaterThan(1);
  });

  it('lets a hop that was never heard of be dialled for ten seconds', async () => {
    const { hop, hung, pass } = watched(3, false);
    hop(1).answersAfterMs = null;
    await pass(10_000);
    expect(hung).toEqual([]);
    await pass(6_000);
    expect(hung).toMatchObject([{ error: { data: { peer: peerId(2) } }, accuser: peerId(1) }]);
  });

  it('hears late answers as signs of life', async () => {
    const { everyone, hop, hung, pass } = watched();
    everyone({ receivedUpTo: 40, sentUpTo: 40 });
    Object.assign(hop(2), { sentUpTo: 39, answersAfterMs: 3_500, stepsPerQuestion: 1 });
    await pass(20_000);
    expect(hung).toEqual([]);
  });

  it('counts from the token where a hop stood still before it', async () => {
    const { hop, everyone, hung, token, pass } = watched();
    token(40);
    everyone({ receivedUpTo: 41, sentUpTo: 41 });
    Object.assign(hop(0), { receivedUpTo: 42 });
    await pass(4_000);
    token(41);
    everyone({ receivedUpTo: 42, sentUpTo: 42 });
    Object.assign(hop(0), { receivedUpTo: 43 });
    await pass(4_000);
    expect(hung).toEqual([]);
    await pass(1_000);
    expect(hung).toMatchObject([{ error: { data: { peer: peerId(1) } } }]);
  });

  it('waits for a prompt as long as its rows go on', async () => {
    const { hop, everyone, hung, pass } = watched();
    everyone({ receivedUpTo: 0, sentUpTo: 0 });
    Object.assign(hop(0), { receivedUpTo: 40, stepsPerQuestion: 1 });
    for (let row = 0; row < 40; row += 1) {
      Object.assign(hop(0), { sentUpTo: row });
      await pass(MOST_PATIENCE_MS / 30);
    }
    expect(hung).toEqual([]);
  });

  it('counts the dial of a hop from when the one before it was there', async () => {
    const { dialled, hop, hung, pass } = watched(3, false);
    dialled.now = false;
    hop(1).answersAfterMs = null;
    await pass(9_000);
    dialled.now = true;
    await pass(10_000);
    expect(hung).toEqual([]);
    await pass(8_000);
    expect(hung).toMatchObject([{ error: { data: { peer: peerId(2) } } }]);
  });

  it('forgets it all when a token comes', async () => {
    const { hop, everyone, hung, askedAtMs, token, pass } = watched();
    token(40);
    everyone({ receivedUpTo: 41, sentUpTo: 41 });
    hop(1).answersAfterMs = null;
    await pass(3_900);
    token(41);
    everyone({ receivedUpTo: 42, sentUpTo: 42 });
    const asked = askedAtMs.length;
    await pass(900);
    expect(askedAtMs).toHaveLength(asked);
    await pass(2_900);
    expect(hung).toEqual([]);
    await pass(2_000);
    expect(hung).toHaveLength(1);
    expect(hung[0]?.error.message).toContain('answered no question for 3.1 s');
  });

  it('is given up in the end though nobody can be named', async () => {
    const { dialled, hung, pass } = watched();
    dialled.now = false;
    await pass(STEP_TIMEOUT_MS + QUESTION_INTERVAL_MS);
    expect(hung).toMatchObject([{ error: { code: 'timeout' }, accuser: null }]);
    expect(hung[0]?.error.data).toEqual({});
    expect(hung[0]?.atMs).toBeGreaterThanOrEqual(STEP_TIMEOUT_MS);
  });

  it('asks and names nobody once it is stopped', async () => {
    const { watch, askedAtMs, hung, pass, clock } = watched();
    await pass(FIRST_QUESTION_MS);
    watch.stop();
    watch.stop();
    await pass(10_000);
    expect([askedAtMs.length, hung.length, clock.pendingTimers]).toEqual([1, 0, 0]);
  });
});
