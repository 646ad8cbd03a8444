import { setTimeout as sleep } from 'node:timers/promises';
import { SkeinError } from '../../src/protocol/errors.ts';
import { ask } from './ask.ts';
import type { AnswerRecord } from './ask.ts';
import { ChaosMesh } from './chaos-mesh.ts';
import { longQuestions } from './questions.ts';

const STAGES = 3;
/** The server is killed when the answer has so many tokens. */
const TOKENS_BEFORE = 10;
const BACK_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

export interface RestartOptions {
  /** Restarts, one after the other. */
  readonly rounds: number;
  /** From the kill until the next server is started; it takes its own time to listen. */
  readonly downMs: number;
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

export interface RestartRound {
  readonly outcome: NonNullable<AnswerRecord['outcome']>;
  readonly interruptions: number;
  /** Tokens that came while there was no server. */
  readonly tokensMeanwhile: number;
  /** From the kill until the new server listens. */
  readonly downMs: number;
  /** From then until it knows everybody again, serving what they served; Infinity for never. */
  readonly backMs: number;
  /** Whether everybody is called what they were called before. */
  readonly sameIds: boolean;
}

export interface RestartResult {
  readonly adapter: string;
  readonly rounds: readonly RestartRound[];
}

/** Times are of `performance.now()`. */
interface Restarted {
  readonly killedAtMs: number;
  readonly listenedAtMs: number;
  readonly backMs: number;
}

/** Kills the server in the middle of an answer, again and again, and starts another on its port. */
export async function runRestarts(options: RestartOptions): Promise<RestartResult> {
  const mesh = await ChaosMesh.open({ ...options, stages: STAGES });
  try {
    const first = await mesh.addPeer('stage 1');
    await mesh.until('the first peer lends itself', () => first.isLending);
    for (let index = 2; index <= STAGES; index++) await mesh.addPeer(`stage ${index}`);
    const rounds: RestartRound[] = [];
    for (let round = 0; round < options.rounds; round++) {
      await mesh.until('everybody serves', () => mesh.peers.every((peer) => mesh.isServing(peer)));
      const restarted = await restartOnce(mesh, options);
      options.onProgress(
        `Answer ${restarted.outcome}; everybody is back after ${restarted.backMs.toFixed(0)} ms.`,
      );
      rounds.push(restarted);
    }
    return { adapter: mesh.adapter, rounds };
  } finally {
    await mesh.dispose();
  }
}

async function restartOnce(mesh: ChaosMesh, options: RestartOptions): Promise<RestartRound> {
  const [question] = [...(await longQuestions())].sort((a, b) => b.answerIds.length - a.answerIds.length);
  if (question === undefined) throw new SkeinError('internal', 'There are no long questions.');
  const idsBefore = mesh.peers.map(({ peerId }) => peerId);
  const restarts: Promise<Restarted>[] = [];
  const answer = await ask({
    current: mesh.current,
    model: mesh.model,
    tokenizer: mesh.tokenizer,
    question,
    onEvent: (event, record) => {
      if (event === 'token' && record.tokenIds.length === TOKENS_BEFORE)
        restarts.push(restart(mesh, options));
    },
  });
  const [restarted] = restarts;
  if (restarted === undefined)
    throw new SkeinError('internal', `The answer ended before token ${TOKENS_BEFORE}.`);
  const { killedAtMs, listenedAtMs, backMs } = await restarted;
  const idsAfter = mesh.peers.map(({ peerId }) => peerId);
  return {
    outcome: answer.outcome ?? 'lost',
    interruptions: answer.interruptions.length,
    tokensMeanwhile: answer.tokenTimesMs.filter((atMs) => atMs > killedAtMs && atMs < listenedAtMs).length,
    downMs: listenedAtMs - killedAtMs,
    backMs,
    sameIds: idsBefore.join() === idsAfter.join(),
  };
}

async function restart({ server, peers }: ChaosMesh, { downMs }: RestartOptions): Promise<Restarted> {
  const killedAtMs = performance.now();
  await server.kill();
  await sleep(downMs);
  await server.start();
  const listenedAtMs = performance.now();
  while (performance.now() - listenedAtMs < BACK_TIMEOUT_MS) {
    const health = await server.health();
    // Every peer holds a slice of its own, so all layers are served when all of them serve; and the requester is there.
    if (health?.contributors === peers.length && health.covered.length > 0 && health.peers > peers.length) {
      return { killedAtMs, listenedAtMs, backMs: performance.now() - listenedAtMs };
    }
    await sleep(POLL_MS);
  }
  return { killedAtMs, listenedAtMs, backMs: Infinity };
}
