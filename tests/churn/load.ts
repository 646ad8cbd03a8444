import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateDeps } from '../../src/client/generate-deps.ts';
import { generate } from '../../src/client/generate.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { asPrompt, GOLDEN_MAX_TOKENS } from '../golden/golden-file.ts';
import type { Golden } from '../golden/golden-file.ts';

/** Many times what an answer takes while nothing happens: one that is not there by then counts as lost. */
const TIME_LIMIT_MS = 120_000;

export interface LoadTotals {
  requests: number;
  /** Other tokens than the model gives. */
  wrong: number;
  /** Ended by an error. */
  lost: number;
  tokens: number;
  /** Routes after the first of a request. */
  reroutes: number;
  /** Times that a request waited before it asked for a route again. */
  waits: number;
  queued: number;
  readonly latenciesMs: number[];
  /** Errors that ended requests, and those that requests survived, with how often. */
  readonly fatal: Map<string, number>;
  readonly survived: Map<string, number>;
}

/** Asks golden questions over and over from a Node requester, several at a time. */
export class Load {
  readonly totals: LoadTotals = {
    requests: 0,
    wrong: 0,
    lost: 0,
    tokens: 0,
    reroutes: 0,
    waits: 0,
    queued: 0,
    latenciesMs: [],
    fatal: new Map(),
    survived: new Map(),
  };
  #next = 0;

  private constructor(
    private readonly session: LiveSession,
    private readonly model: ModelId,
    private readonly tokenizer: Tokenizer,
    private readonly golden: Golden,
    private readonly onProblem: (line: string) => void,
  ) {}

  static async open(
    session: LiveSession,
    model: ModelId,
    folder: string,
    onProblem: (line: string) => void,
  ): Promise<Load> {
    const tokenizer = await Tokenizer.load(new FolderSource(folder));
    const golden = JSON.parse(await readFile(join(folder, 'golden.json'), 'utf8')) as Golden;
    return new Load(session, model, tokenizer, golden, onProblem);
  }

  /** Asks until the signal says that it is enough; resolves when the last answer is there. */
  async run(requesters: number, enough: AbortSignal): Promise<void> {
    const ask = async () => {
      while (!enough.aborted) await this.#ask();
    };
    await Promise.all(Array.from({ length: requesters }, ask));
  }

  async #ask(): Promise<void> {
    const { totals } = this;
    const golden = this.golden.cases[this.#next++ % this.golden.cases.length];
    if (golden === undefined) throw new SkeinError('internal', 'golden.json has no cases.');
    const startedAt = performance.now();
    try {
      const tokenIds = await this.#answer(golden.prompt_ids);
      totals.tokens += tokenIds.length;
      totals.latenciesMs.push(performance.now() - startedAt);
      if (tokenIds.join() !== golden.greedy_ids.join()) {
        totals.wrong += 1;
        this.onProblem(
          `"${golden.user}" was answered with ${tokenIds.join()} instead of ${golden.greedy_ids.join()}`,
        );
      }
    } catch (thrown) {
      const { code, message } = SkeinError.from(thrown);
      totals.lost += 1;
      count(totals.fatal, code);
      this.onProblem(`"${golden.user}" was lost: ${code}: ${message}`);
    } finally {
      totals.requests += 1;
    }
  }

  async #answer(promptIds: readonly number[]): Promise<readonly number[]> {
    const { totals } = this;
    let routes = 0;
    const events = generate(
      {
        model: this.model,
        prompt: asPrompt(promptIds),
        maxTokens: GOLDEN_MAX_TOKENS,
        sampling: GREEDY,
        timeLimitMs: TIME_LIMIT_MS,
      },
      generateDeps({ current: () => this.session, tokenizer: this.tokenizer }),
    );
    for await (const event of events) {
      if (event.type === 'route' && (routes += 1) > 1) totals.reroutes += 1;
      if (event.type === 'queued') totals.queued += 1;
      if (event.type === 'waiting') {
        totals.waits += 1;
        count(totals.survived, event.error.code);
      }
      if (event.type === 'done') return event.result.tokenIds;
    }
    throw new SkeinError('internal', 'The generation ended without a result.');
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
