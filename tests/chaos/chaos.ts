import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from '@playwright/test';
import type { Browser } from '@playwright/test';
import { SkeinError } from '../../src/protocol/errors.ts';
import { TabPeer } from '../churn/tab-peer.ts';
import { CHROMIUM_FLAGS } from '../rig/rig.ts';
import { Random } from '../sim/random.ts';
import { ask } from './ask.ts';
import type { AnswerRecord, Interruption } from './ask.ts';
import { ChaosMesh } from './chaos-mesh.ts';
import { FaultDesk } from './fault-desk.ts';
import type { DoneFault } from './fault-desk.ts';
import { MemoryWatch } from './memory-watch.ts';
import type { ProcessLife } from './memory-watch.ts';
import { faultWords, planFaults } from './plan.ts';
import { goldenQuestions, longQuestions } from './questions.ts';
import type { Question } from './questions.ts';

/** One in so many is long. */
const LONG_EVERY = 4;
/** Pauses that are told of one by one. */
const LONG_PAUSE_MS = 5_000;
/** When nothing goes wrong any more, every answer is there within this time, or hangs. */
const LAST_ANSWERS_TIMEOUT_MS = 120_000;

export interface ChaosOptions {
  readonly durationMs: number;
  readonly seed: number;
  readonly nodes: number;
  readonly tabs: number;
  readonly stages: number;
  /** Answers at a time. */
  readonly requesters: number;
  /** Between two faults, at least; at most twice this, where the mesh is ready for them. */
  readonly intervalMs: number;
  /** Null where there are no tabs. */
  readonly chromiumPath: string | null;
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

export interface ChaosResult {
  readonly adapter: string;
  readonly seconds: number;
  /** Of getting everybody to serve, before. */
  readonly warmUpSeconds: number;
  readonly answers: readonly AnswerRecord[];
  /** Answers that were still not there long after the last fault. */
  readonly unfinished: number;
  readonly faults: readonly DoneFault[];
  readonly harmedMessages: number;
  /** How peers ended that nobody made end. */
  readonly crashes: readonly string[];
  readonly lives: readonly ProcessLife[];
}

/** A mesh of processes in which something goes wrong every few seconds, and whether anybody who asks it notices. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { chromiumPath, tabs } = options;
  const openedAt = performance.now();
  const elapsed = () => `${((performance.now() - openedAt) / 1000).toFixed(1)} s`;
  const onProgress = (line: string) => options.onProgress(`${elapsed()}: ${line}`);
  const mesh = await ChaosMesh.open({ ...options, onProgress });
  const browser =
    chromiumPath === null || tabs === 0
      ? null
      : await chromium.launch({ executablePath: chromiumPath, args: [...CHROMIUM_FLAGS] });
  try {
    return await new Chaos(mesh, { ...options, onProgress }, await tabPeers(mesh, browser, tabs)).run();
  } finally {
    await browser?.close();
    await mesh.dispose();
  }
}

async function tabPeers(mesh: ChaosMesh, browser: Browser | null, tabs: number): Promise<TabPeer[]> {
  const context = await browser?.newContext();
  if (context === undefined) return [];
  return Array.from(
    { length: tabs },
    (_, index) => new TabPeer(`tab ${index + 1}`, mesh.server.url, context),
  );
}

class Chaos {
  readonly #mesh: ChaosMesh;
  readonly #options: ChaosOptions;
  readonly #tabs: readonly TabPeer[];
  readonly #answers: AnswerRecord[] = [];
  #asked = 0;
  readonly #questions: Random;

  constructor(mesh: ChaosMesh, options: ChaosOptions, tabs: readonly TabPeer[]) {
    this.#mesh = mesh;
    this.#options = options;
    this.#tabs = tabs;
    this.#questions = new Random(`questions ${options.seed}`);
  }

  async run(): Promise<ChaosResult> {
    const { durationMs, requesters, onProgress } = this.#options;
    const warmUpStartedAt = performance.now();
    await this.#everybodyComes();
    const mesh = this.#mesh;
    const memory = new MemoryWatch(
      new Map<string, () => number | null>([
        ['server', () => mesh.server.pid],
        ['requester', () => process.pid],
        ...mesh.peers.map((peer) => [peer.name, () => peer.pid] as const),
      ]),
    );
    const startedAt = performance.now();
    onProgress('Everybody serves; the chaos begins.');
    const enough = AbortSignal.timeout(durationMs);
    const asking = this.#askAll(requesters, enough);
    const desk = new FaultDesk(mesh, this.#tabs, onProgress);
    await this.#harm(desk, enough);
    onProgress('Enough; the last answers are waited for.');
    const settled = Promise.all([asking, desk.settle()]);
    await Promise.race([settled, sleep(LAST_ANSWERS_TIMEOUT_MS)]);
    memory.stop();
    return {
      adapter: mesh.adapter,
      seconds: (performance.now() - startedAt) / 1000,
      warmUpSeconds: (startedAt - warmUpStartedAt) / 1000,
      answers: [...this.#answers],
      unfinished: this.#asked - this.#answers.length,
      faults: desk.done,
      harmedMessages: mesh.peers.reduce((sum, { harmed }) => sum + harmed, 0),
      crashes: mesh.peers.flatMap(({ crashes }) => crashes),
      lives: memory.lives,
    };
  }

  /** The first of each kind before the others: it measures which kernels suit the adapter, and the others need not. */
  async #everybodyComes(): Promise<void> {
    const { nodes } = this.#options;
    const mesh = this.#mesh;
    const first = await mesh.addPeer('node 1');
    const tabs = Promise.all(this.#tabs.map((tab) => tab.start()));
    await mesh.until('the first peer lends itself', () => first.isLending);
    for (let index = 2; index <= nodes; index++) await mesh.addPeer(`node ${index}`);
    await tabs;
    const serving = () => mesh.members.filter(({ state }) => state === 'serving').length;
    await mesh.until(
      'everybody serves',
      () => mesh.covered.length > 0 && serving() === nodes + this.#tabs.length,
    );
  }

  async #askAll(requesters: number, enough: AbortSignal): Promise<void> {
    const short = await goldenQuestions();
    const long = await longQuestions();
    const { onProgress } = this.#options;
    const oneOf = (questions: readonly Question[]) => {
      const question = questions[Math.floor(this.#questions.next() * questions.length)];
      if (question === undefined) throw new SkeinError('internal', 'There are no questions.');
      return question;
    };
    const askOn = async () => {
      while (!enough.aborted) {
        const { model, tokenizer, current } = this.#mesh;
        const question = oneOf(this.#questions.next() < 1 / LONG_EVERY ? long : short);
        this.#asked += 1;
        const answer = await ask({ current, model, tokenizer, question });
        this.#answers.push(answer);
        if (answer.outcome !== 'right') onProgress(problemWords(answer));
        for (const pause of answer.interruptions.filter(isLong)) onProgress(pauseWords(pause));
      }
    };
    await Promise.all(Array.from({ length: requesters }, askOn));
  }

  async #harm(desk: FaultDesk, enough: AbortSignal): Promise<void> {
    const { seed, nodes, tabs, intervalMs, onProgress } = this.#options;
    for (const { afterMs, fault } of planFaults({ seed, nodes, tabs, intervalMs })) {
      await sleep(afterMs, undefined, { signal: enough }).catch(() => undefined);
      if (enough.aborted) return;
      await desk.ready(fault, enough);
      if (isOver(enough)) return;
      onProgress(faultWords(fault));
      desk.begin(fault);
    }
  }
}

function isLong({ atMs, resumedAtMs }: Interruption): boolean {
  return resumedAtMs !== null && resumedAtMs - atMs > LONG_PAUSE_MS;
}

function pauseWords({ atMs, resumedAtMs, code, message, tokensBefore }: Interruption): string {
  const seconds = (((resumedAtMs ?? NaN) - atMs) / 1000).toFixed(1);
  return `an answer stood still for ${seconds} s after ${tokensBefore} tokens: ${code}: ${message}`;
}

function problemWords({ question, outcome, tokenIds, error, routes }: AnswerRecord): string {
  const why =
    error === null
      ? `${tokenIds.join()} instead of ${question.answerIds.join()}`
      : `${error.code}: ${error.message}`;
  return `${outcome ?? ''}: "${question.name}" after ${tokenIds.length} tokens and ${routes.length} routes: ${why}`;
}

/** Asked again after a wait: it changes. */
function isOver({ aborted }: AbortSignal): boolean {
  return aborted;
}
