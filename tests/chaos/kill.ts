import { openNodeSession } from '../../src/mesh/node-session.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { Route } from '../../src/protocol/route.ts';
import { ask } from './ask.ts';
import type { AnswerRecord } from './ask.ts';
import { ChaosMesh } from './chaos-mesh.ts';
import type { PeerProcess } from './peer-process.ts';
import { longQuestions } from './questions.ts';
import type { Question } from './questions.ts';

const STAGES = 3;
/** Processes: every layer is held twice. */
const PEERS = 2 * STAGES;
const POSITIONS = ['first', 'middle', 'last'] as const;
const PHASES = ['prefill', 'decode'] as const;
/** Kills of one round. */
export const KILL_CASES = POSITIONS.length * PHASES.length;
/** Of the question that stages are killed in the prefill of: three passes. And of the answer that they are killed in. */
const PROMPT_TOKENS = 600;
const ANSWER_TOKENS = 96;
/** A stage is killed, or told to leave, when the answer has so many tokens. */
const TOKENS_BEFORE = 20;
/** A case that missed its phase is tried so many times. */
const TRIES = 4;
/** What a leave did to answers shows in this time. */
const LEAVE_WINDOW_MS = 4_000;

export interface KillOptions {
  /** Of every case. */
  readonly rounds: number;
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

export interface KillCase {
  readonly stage: (typeof POSITIONS)[number];
  readonly phase: (typeof PHASES)[number];
  readonly outcome: NonNullable<AnswerRecord['outcome']>;
  /** Rows of the prompt that the stage had been fed, and tokens that the requester had, when the process was killed. */
  readonly rowsBefore: number;
  readonly tokensBefore: number;
  /** From the kill until the requester learned of it, by a closed link or by another stage. */
  readonly noticedMs: number;
  /** From then to the next token. */
  readonly pauseMs: number;
  readonly code: string;
  /** Tries that missed the phase before. */
  readonly misses: number;
}

export interface LeaveCase {
  readonly stage: (typeof POSITIONS)[number];
  readonly answers: number;
  readonly allRight: boolean;
  /** Between tokens, until the stage was told to leave. */
  readonly gapsBeforeMs: readonly number[];
  /** From then on, of the answer that the stage had part in. */
  readonly gapsMs: readonly number[];
  /** Of the answers after it, over other stages, which have computed nothing yet and are dialled. */
  readonly gapsAfterMs: readonly number[];
}

export interface KillResult {
  readonly adapter: string;
  readonly kills: readonly KillCase[];
  readonly leaves: readonly LeaveCase[];
}

/** A process, and which of its peers the route goes over. */
interface Victim {
  readonly process: PeerProcess;
  readonly peer: PeerId;
}

/** Kills every stage in every phase, and lets every stage leave. */
export async function runKills(options: KillOptions): Promise<KillResult> {
  const mesh = await ChaosMesh.open({ ...options, stages: STAGES });
  try {
    return await new Kills(mesh, options, await longQuestions()).run();
  } finally {
    await mesh.dispose();
  }
}

class Kills {
  readonly #mesh: ChaosMesh;
  readonly #options: KillOptions;
  readonly #prefill: Question;
  readonly #decode: Question;

  constructor(mesh: ChaosMesh, options: KillOptions, questions: readonly Question[]) {
    this.#mesh = mesh;
    this.#options = options;
    const oneOf = (isIt: (question: Question) => boolean) => {
      const question = questions.find(isIt);
      if (question === undefined) throw new SkeinError('internal', 'A long question is missing.');
      return question;
    };
    this.#prefill = oneOf(({ promptIds }) => promptIds.length === PROMPT_TOKENS);
    this.#decode = oneOf(({ answerIds }) => answerIds.length === ANSWER_TOKENS);
  }

  async run(): Promise<KillResult> {
    const { onProgress, rounds } = this.#options;
    await this.#everybodyComes();
    const kills: KillCase[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const phase of PHASES) {
        for (const stage of POSITIONS) {
          const killed = await this.#kill(stage, phase);
          onProgress(
            `${stage} stage killed in ${phase}: ${killed.outcome}, noticed after ${killed.noticedMs.toFixed(0)} ms, ` +
              `then a pause of ${killed.pauseMs.toFixed(0)} ms`,
          );
          kills.push(killed);
        }
      }
    }
    const leaves: LeaveCase[] = [];
    for (const stage of POSITIONS) {
      const left = await this.#leave(stage);
      onProgress(`${stage} stage left: longest gap ${Math.max(...left.gapsMs).toFixed(0)} ms`);
      leaves.push(left);
    }
    return { adapter: this.#mesh.adapter, kills, leaves };
  }

  /** The first before the others: it measures which kernels suit the adapter, and the others need not. */
  async #everybodyComes(): Promise<void> {
    const mesh = this.#mesh;
    const first = await mesh.addPeer('peer 1');
    await mesh.until('the first peer lends itself', () => first.isLending);
    for (let index = 2; index <= PEERS; index++) await mesh.addPeer(`peer ${index}`);
  }

  /** Everybody serves, and the layers of the stage are held by somebody else too. */
  async #everybodyServes(stage: KillCase['stage']): Promise<void> {
    const mesh = this.#mesh;
    const layer = { first: 0, middle: Math.floor(mesh.layerCount / 2), last: mesh.layerCount - 1 }[stage];
    await mesh.until(`the ${stage} stage is held twice`, () => {
      const holders = mesh.members.filter(
        ({ layerStart, layerEnd }) => layerStart <= layer && layer < layerEnd,
      );
      return holders.length >= 2 && mesh.peers.every((peer) => mesh.isServing(peer));
    });
  }

  async #kill(stage: KillCase['stage'], phase: KillCase['phase']): Promise<KillCase> {
    for (let misses = 0; misses < TRIES; misses++) {
      const killed = await this.#tryToKill(stage, phase);
      if (killed !== null) return { ...killed, misses };
      this.#options.onProgress(`The ${stage} stage was not killed in ${phase}; once more.`);
    }
    throw new SkeinError('internal', `The ${stage} stage could not be killed in ${phase} in ${TRIES} tries.`);
  }

  /** @returns null when the answer was in another phase by the time that the kill was noticed, or over. */
  async #tryToKill(
    stage: KillCase['stage'],
    phase: KillCase['phase'],
  ): Promise<Omit<KillCase, 'misses'> | null> {
    const mesh = this.#mesh;
    await this.#everybodyServes(stage);
    // A new requester for each: what another asked before is in nobody's cache for this one.
    const session = await openNodeSession(mesh.server.url, new AbortController().signal);
    let killedAtMs = NaN;
    let noticedAtMs = NaN;
    let rowsBefore = 0;
    let tokensBefore = 0;
    const hit: { victim: Victim | null } = { victim: null };
    const fed = new Map<PeerId, number>();
    const kill = (record: AnswerRecord) => {
      const [route] = record.routes;
      if (hit.victim !== null || route === undefined) return;
      const victim = this.#hop(route, stage);
      hit.victim = victim;
      rowsBefore = fed.get(victim.peer) ?? 0;
      tokensBefore = record.tokenIds.length;
      killedAtMs = performance.now();
      void victim.process.kill();
    };
    let record: AnswerRecord | null = null;
    const stops = [
      session.transport.onPeerLost((peer) => {
        if (peer === hit.victim?.peer && Number.isNaN(noticedAtMs)) noticedAtMs = performance.now();
      }),
      ...mesh.peers.map((each) =>
        each.onRows(({ peer, upTo }) => {
          fed.set(peer, Math.max(upTo, fed.get(peer) ?? 0));
          // The last stage has begun: every stage is at work on the prompt.
          const isLast = record?.routes[0]?.hops.at(-1)?.peer === peer;
          if (phase === 'prefill' && isLast && record !== null) kill(record);
        }),
      ),
    ];
    const answer = await ask({
      current: () => session,
      model: mesh.model,
      tokenizer: mesh.tokenizer,
      question: phase === 'prefill' ? this.#prefill : this.#decode,
      onEvent: (event, soFar) => {
        record = soFar;
        if (phase === 'decode' && event === 'token' && soFar.tokenIds.length === TOKENS_BEFORE) kill(soFar);
      },
    });
    for (const stop of stops) stop();
    session.dispose();
    await this.#revive(hit.victim?.process ?? null);
    const [interruption] = answer.interruptions;
    if (answer.outcome === 'lost') this.#options.onProgress(`Lost: ${answer.error?.message ?? ''}`);
    if (interruption === undefined || (interruption.tokensBefore === 0) !== (phase === 'prefill'))
      return null;
    const visibleAtMs = Math.min(interruption.atMs, Number.isNaN(noticedAtMs) ? Infinity : noticedAtMs);
    return {
      stage,
      phase,
      outcome: answer.outcome ?? 'lost',
      rowsBefore,
      tokensBefore,
      noticedMs: visibleAtMs - killedAtMs,
      pauseMs: (interruption.resumedAtMs ?? NaN) - visibleAtMs,
      code: interruption.code,
    };
  }

  async #leave(stage: LeaveCase['stage']): Promise<LeaveCase> {
    const mesh = this.#mesh;
    await this.#everybodyServes(stage);
    const answers: AnswerRecord[] = [];
    let leftAtMs = Infinity;
    let leaving: PeerProcess | null = null;
    const askOnce = async () => {
      const answer = await ask({
        current: mesh.current,
        model: mesh.model,
        tokenizer: mesh.tokenizer,
        question: this.#decode,
        onEvent: (event, record) => {
          const [route] = record.routes;
          if (leftAtMs !== Infinity || event !== 'token' || answers.length === 0 || route === undefined)
            return;
          if (record.tokenIds.length !== TOKENS_BEFORE) return;
          leftAtMs = performance.now();
          leaving = this.#hop(route, stage).process;
          leaving.leave();
        },
      });
      answers.push(answer);
    };
    // The first is undisturbed, and warms up what the others use.
    while (performance.now() < leftAtMs + LEAVE_WINDOW_MS) await askOnce();
    await this.#revive(leaving);
    const gaps = answers.flatMap(({ tokenTimesMs, startedAtMs }) =>
      tokenTimesMs.slice(1).map((atMs, index) => ({
        atMs,
        gapMs: atMs - (tokenTimesMs[index] ?? atMs),
        isUnderWay: startedAtMs < leftAtMs,
      })),
    );
    const lengths = (isOne: (gap: (typeof gaps)[number]) => boolean) =>
      gaps.filter(isOne).map(({ gapMs }) => gapMs);
    return {
      stage,
      answers: answers.length,
      allRight: answers.every(({ outcome }) => outcome === 'right'),
      gapsBeforeMs: lengths(({ atMs }) => atMs < leftAtMs),
      gapsMs: lengths(({ atMs, isUnderWay }) => atMs >= leftAtMs && isUnderWay),
      gapsAfterMs: lengths(({ isUnderWay }) => !isUnderWay),
    };
  }

  #hop(route: Route, stage: KillCase['stage']): Victim {
    const hop = route.hops.at({ first: 0, middle: 1, last: -1 }[stage]);
    const process = this.#mesh.peers.find(({ peerId }) => peerId !== null && peerId === hop?.peer);
    if (hop === undefined || process === undefined || route.hops.length !== STAGES) {
      throw new SkeinError(
        'internal',
        `The answer began over ${route.hops.length} stages and not over ${STAGES}.`,
      );
    }
    return { process, peer: hop.peer };
  }

  async #revive(ended: PeerProcess | null): Promise<void> {
    await ended?.gone();
    ended?.start();
  }
}
