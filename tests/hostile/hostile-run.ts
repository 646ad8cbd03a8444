import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import { openServedModels } from '../../src/cli/served-models.ts';
import { generateDeps } from '../../src/client/generate-deps.ts';
import { generate } from '../../src/client/generate.ts';
import type { GenerateResult } from '../../src/client/generate.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import type { MeshMember } from '../../src/protocol/signaling.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { createLog } from '../../signaling/log.ts';
import { startServer } from '../../signaling/server.ts';
import { MemoryWatch } from '../chaos/memory-watch.ts';
import { PeerProcess } from '../chaos/peer-process.ts';
import { goldenQuestions } from '../chaos/questions.ts';
import type { Question } from '../chaos/questions.ts';
import { asPrompt, GOLDEN_MAX_TOKENS } from '../golden/golden-file.ts';
import { copyTunings } from '../rig/copy-tunings.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import type { HostileKind } from './hostile-kinds.ts';
import { HostileProcess } from './hostile-process.ts';

const STAGES = 3;
/** Each from a session of its own: two of them are two who may accuse. */
export const REQUESTERS = 2;
/** Answers that each asks for at a time: with less to do the honest stages would leave nothing for others. */
export const AT_ONCE = 4;
const SERVE_TIMEOUT_MS = 150_000;
const ANSWER_TIMEOUT_MS = 240_000;
/** Requests that every hostile peer is to be given, and the time after which it is not waited for. */
const REQUESTS_TAKEN = REQUESTERS;
const CASE_MS = 45_000;
/** Of each requester, when the hostile peer has done its harm. */
const CALM_ANSWERS = 3;
const POLL_MS = 50;

export interface HostileRunOptions {
  readonly kinds: readonly HostileKind[];
  /** The Vulkan driver of honest peers, where it is not the machine's own. */
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

/** What one hostile peer did to the mesh. */
export interface CaseResult {
  readonly kind: HostileKind;
  /** Requests that it was given. */
  readonly taken: number;
  readonly answers: number;
  readonly wrong: number;
  readonly lost: number;
  /** Whether requesters named it as the reason of a new route, and the codes. */
  readonly codes: readonly string[];
  /** Honest peers that requesters named. */
  readonly honestNamed: number;
  /** Of answers that went over it, from its failure to the next token. */
  readonly pausesMs: readonly number[];
  /** Lines of the server's log that name it as suspected or gone. */
  readonly logLines: readonly string[];
  /** Frames of a flood that honest peers did not take. */
  readonly cutOffs: number;
  /** Whether pages were shown it as a suspect. */
  readonly wasShown: boolean;
}

export interface HostileResult {
  readonly adapter: string;
  readonly cases: readonly CaseResult[];
  /** Of the honest stages: resident bytes before the first hostile peer came, and the most after that. */
  readonly memory: readonly {
    readonly name: string;
    readonly beforeBytes: number;
    readonly mostBytes: number;
  }[];
}

/** A server, three honest stages of the real model in processes of their own, and one hostile peer after the other. */
export async function runHostile(options: HostileRunOptions): Promise<HostileResult> {
  const run = await HostileRun.open(options);
  try {
    return await run.all();
  } finally {
    await run.dispose();
  }
}

interface Answered {
  readonly result: GenerateResult | null;
  readonly isRight: boolean;
  readonly error: SkeinError | null;
}

class HostileRun {
  readonly #log: string[] = [];
  #members: readonly MeshMember[] = [];
  #covered: readonly ModelId[] = [];
  readonly #suspectsShown = new Set<PeerId>();
  readonly #honest: PeerProcess[] = [];
  readonly #sessions: LiveSession[] = [];
  #next = 0;
  #close: () => Promise<void> = () => Promise.resolve();

  private constructor(
    private readonly options: HostileRunOptions,
    private readonly tokenizer: Tokenizer,
    private readonly questions: readonly Question[],
  ) {}

  static async open(options: HostileRunOptions): Promise<HostileRun> {
    const tokenizer = await Tokenizer.load(new FolderSource(EMBEDDED_MODEL));
    const run = new HostileRun(options, tokenizer, await goldenQuestions());
    await run.#start();
    return run;
  }

  async #start(): Promise<void> {
    const { vulkanDriver, onProgress } = this.options;
    const served = await openServedModels([EMBEDDED_MODEL]);
    const server = await startServer({
      host: '127.0.0.1',
      port: 0,
      models: served.map(({ card }) => card),
      roots: served.flatMap(({ root }) => root ?? []),
      stages: STAGES,
      log: createLog('info', (line) => this.#log.push(line)),
    });
    const folder = await mkdtemp(join(tmpdir(), 'skein-hostile-'));
    this.#close = async () => {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    };
    for (let index = 0; index < REQUESTERS; index++) {
      this.#sessions.push(await openNodeSession(server.url, new AbortController().signal));
    }
    this.#sessions[0]?.signaling.on('mesh', ({ members, covered }) => {
      this.#members = members;
      this.#covered = covered;
      for (const { peer, state } of members) if (state === 'suspect') this.#suspectsShown.add(peer);
    });
    this.#serverUrl = server.url;
    for (let index = 0; index < STAGES; index++) {
      const stateFolder = join(folder, String(index));
      await copyTunings(stateFolder, this.#honest[0] ? join(folder, '0') : undefined);
      const name = `honest ${index + 1}`;
      const peer = new PeerProcess(name, {
        serverUrl: server.url,
        stateFolder,
        vulkanDriver,
        onWords: onProgress,
      });
      this.#honest.push(peer);
      peer.start();
    }
    await this.#until('all layers are served', () => this.#covered.length > 0, SERVE_TIMEOUT_MS);
  }

  #serverUrl = '';

  async all(): Promise<HostileResult> {
    const { kinds, onProgress } = this.options;
    const adapter = this.#members.find(({ state }) => state === 'serving')?.adapter ?? 'unknown';
    const watch = new MemoryWatch(new Map(this.#honest.map((peer) => [peer.name, () => peer.pid])));
    // What is made once is made before anybody is hostile.
    await Promise.all(this.#sessions.map((session) => this.#ask(session)));
    await sleep(2000);
    const before = new Map(watch.lives.map(({ name, samples }) => [name, samples.at(-1)?.bytes ?? 0]));
    const cases: CaseResult[] = [];
    for (const kind of kinds) {
      const found = await this.#case(kind);
      onProgress(
        `${kind}: ${found.taken} taken, ${found.answers} answers, ${found.wrong} wrong, ${found.lost} lost`,
      );
      cases.push(found);
    }
    watch.stop();
    const memory = watch.lives.map(({ name, samples }) => {
      const mostBytes = Math.max(...samples.map(({ bytes }) => bytes));
      return { name, beforeBytes: before.get(name) ?? 0, mostBytes };
    });
    return { adapter, cases, memory };
  }

  async dispose(): Promise<void> {
    for (const session of this.#sessions) session.dispose();
    await Promise.all(this.#honest.map((peer) => peer.kill()));
    await this.#close();
  }

  async #case(kind: HostileKind): Promise<CaseResult> {
    const hostile = new HostileProcess(this.#serverUrl, kind, this.options.onProgress);
    const end = () => void hostile.kill();
    process.once('exit', end);
    try {
      await this.#until(`${kind} serves`, () => this.#serves(hostile.peer), SERVE_TIMEOUT_MS);
      const logFrom = this.#log.length;
      const answered = await this.#askUntil(() => hostile.took.size >= REQUESTS_TAKEN);
      const { peer } = hostile;
      const isHarmedBy = (line: string) =>
        peer !== null && line.includes(peer) && /suspect|gone|cut off/.test(line);
      const reroutes = answered.flatMap(({ result }) => result?.reroutes ?? []);
      const honest = new Set(this.#members.map((member) => member.peer).filter((other) => other !== peer));
      return {
        kind,
        taken: hostile.took.size,
        answers: answered.length,
        wrong: answered.filter(({ result, isRight }) => result !== null && !isRight).length,
        lost: answered.filter(({ error }) => error !== null).length,
        codes: [...new Set(reroutes.filter((reroute) => reroute.peer === peer).map(({ code }) => code))],
        honestNamed: reroutes.filter((reroute) => reroute.peer !== null && honest.has(reroute.peer)).length,
        pausesMs: reroutes.filter((reroute) => reroute.peer === peer).map(({ pauseMs }) => pauseMs),
        logLines: this.#log.slice(logFrom).filter(isHarmedBy),
        cutOffs: hostile.cutOffs,
        wasShown: peer !== null && this.#suspectsShown.has(peer),
      };
    } finally {
      await hostile.kill();
      process.off('exit', end);
      const { peer } = hostile;
      await this.#until(
        `${kind} is gone`,
        () => !this.#members.some((member) => member.peer === peer),
        CASE_MS,
      );
      await this.#until('all layers are served', () => this.#covered.length > 0, SERVE_TIMEOUT_MS);
    }
  }

  /** Both requesters ask one question after the other, until it is enough or time is up. */
  async #askUntil(isEnough: () => boolean): Promise<Answered[]> {
    const deadline = performance.now() + CASE_MS;
    const answered: Answered[] = [];
    const askOn = async (session: LiveSession) => {
      while (!isEnough() && performance.now() < deadline) answered.push(await this.#ask(session));
      // Some more, which have to go without it.
      for (let count = 0; count < CALM_ANSWERS; count++) answered.push(await this.#ask(session));
    };
    const lines = Array.from({ length: AT_ONCE }, () => this.#sessions).flat();
    await Promise.all(lines.map(askOn));
    return answered;
  }

  async #ask(session: LiveSession): Promise<Answered> {
    const question = this.questions[this.#next++ % this.questions.length];
    const [card] = session.models;
    if (question === undefined || card === undefined)
      throw new SkeinError('internal', 'There is nothing to ask.');
    const request = {
      model: card.id,
      prompt: asPrompt(question.promptIds),
      maxTokens: GOLDEN_MAX_TOKENS,
      sampling: GREEDY,
      timeLimitMs: ANSWER_TIMEOUT_MS,
    };
    try {
      const deps = generateDeps({ current: () => session, tokenizer: this.tokenizer });
      for await (const event of generate(request, deps)) {
        if (event.type !== 'done') continue;
        const { result } = event;
        return { result, isRight: result.tokenIds.join() === question.answerIds.join(), error: null };
      }
      throw new SkeinError('internal', 'The generation ended without a result.');
    } catch (thrown) {
      const error = SkeinError.from(thrown);
      this.options.onProgress(`lost: ${error.code}: ${error.message}`);
      return { result: null, isRight: false, error };
    }
  }

  #serves(peer: PeerId | null): boolean {
    return this.#members.some((member) => member.peer === peer && member.state === 'serving');
  }

  async #until(what: string, isSo: () => boolean, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!isSo()) {
      if (performance.now() > deadline)
        throw new SkeinError('timeout', `After ${timeoutMs / 1000} s not so: ${what}.`);
      await sleep(POLL_MS);
    }
  }
}
