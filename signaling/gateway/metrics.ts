import { collectDefaultMetrics, Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { StageLoad } from '../presence.ts';
import type { RequestRecord } from './request-record.ts';

/** What the server knows of the mesh at this moment. */
export interface MeshFigures {
  /** Connected pages and programs, and those of them that hold or load layers. */
  readonly peers: number;
  readonly contributors: number;
  /** Requests that hold a route, and that wait for one; of pages too. */
  readonly requests: number;
  readonly queued: number;
  readonly stages: readonly StageLoad[];
}

/** Software GPUs take seconds for what others do in milliseconds. */
const FIRST_TOKEN_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const TOKEN_GAP_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30];
const WAIT_BUCKETS = [0.1, 0.5, 1, 5, 15, 60, 300, 900];
/** For names that are not served: whoever asks must not be able to make series. */
const NO_MODEL = 'none';

/** What `/metrics` tells. All in seconds, tokens and counts; no label is the choice of a caller. */
export class GatewayMetrics {
  readonly #requests: Counter<'endpoint' | 'model' | 'status'>;
  readonly #rejects: Counter<'reason'>;
  readonly #tokens: Counter<'model' | 'kind'>;
  readonly #firstToken: Histogram<'endpoint' | 'model'>;
  readonly #tokenGaps: Histogram<'model'>;
  readonly #queueWait: Histogram<'model'>;
  readonly #reroutes: Counter<'model' | 'reason'>;

  constructor(
    readonly registry: Registry,
    figures: { readonly mesh: () => MeshFigures; readonly active: () => number },
  ) {
    const registers = [registry];
    collectDefaultMetrics({ register: registry });
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    const { mesh, active } = figures;
    gauge('skein_peers', 'Connected pages and programs.', () => mesh().peers);
    gauge('skein_contributors', 'Peers that hold or load layers.', () => mesh().contributors);
    gauge('skein_mesh_requests', 'Requests that hold a route, of pages too.', () => mesh().requests);
    gauge('skein_mesh_queue_length', 'Requests that wait for room, of pages too.', () => mesh().queued);
    gauge('skein_api_requests_active', 'API requests under way.', active);
    new Gauge({
      name: 'skein_stage_busy_share',
      help: 'Share of the last half minute in which a stage computed, as it reports.',
      labelNames: ['peer', 'model', 'layers'],
      registers,
      collect() {
        this.reset();
        for (const { peer, model, layerStart, layerEnd, busyShare } of mesh().stages) {
          this.set({ peer, model, layers: `${layerStart}-${layerEnd}` }, busyShare);
        }
      },
    });
    this.#requests = new Counter({
      name: 'skein_api_requests_total',
      help: 'API requests that ended, by the status they were or would have been answered with.',
      labelNames: ['endpoint', 'model', 'status'],
      registers,
    });
    this.#rejects = new Counter({
      name: 'skein_api_rejects_total',
      help: 'API requests that were refused or failed, by reason.',
      labelNames: ['reason'],
      registers,
    });
    this.#tokens = new Counter({
      name: 'skein_api_tokens_total',
      help: 'Tokens: prompt (cached ones included), cached, completion (reasoning included) and reasoning.',
      labelNames: ['model', 'kind'],
      registers,
    });
    this.#firstToken = new Histogram({
      name: 'skein_api_time_to_first_token_seconds',
      help: 'From the arrival of a request to the first piece of its answer.',
      labelNames: ['endpoint', 'model'],
      buckets: FIRST_TOKEN_BUCKETS,
      registers,
    });
    this.#tokenGaps = new Histogram({
      name: 'skein_api_inter_token_seconds',
      help: 'Between two pieces of one answer, each of a token or a few.',
      labelNames: ['model'],
      buckets: TOKEN_GAP_BUCKETS,
      registers,
    });
    this.#queueWait = new Histogram({
      name: 'skein_api_queue_wait_seconds',
      help: 'Waited for room on the mesh, by those who had to.',
      labelNames: ['model'],
      buckets: WAIT_BUCKETS,
      registers,
    });
    this.#reroutes = new Counter({
      name: 'skein_api_reroutes_total',
      help: 'Routes that were lost under an answer, by what they were lost to.',
      labelNames: ['model', 'reason'],
      registers,
    });
  }

  tokenGap(model: string | null, seconds: number): void {
    this.#tokenGaps.observe({ model: model ?? NO_MODEL }, seconds);
  }

  /** A request is over, however it went. */
  ended(record: RequestRecord): void {
    const { endpoint, usage, firstPieceMs, startedMs, queuePosition, queuedMs } = record;
    const model = record.model ?? NO_MODEL;
    this.#requests.inc({ endpoint, model, status: String(record.status) });
    if (record.error !== null) this.#rejects.inc({ reason: record.error });
    if (firstPieceMs !== null)
      this.#firstToken.observe({ endpoint, model }, (firstPieceMs - startedMs) / 1000);
    if (queuePosition !== null) this.#queueWait.observe({ model }, queuedMs / 1000);
    for (const reason of record.reroutes) this.#reroutes.inc({ model, reason });
    if (record.model === null) return;
    this.#tokens.inc({ model, kind: 'prompt' }, usage?.promptTokens ?? record.promptTokens);
    this.#tokens.inc({ model, kind: 'cached' }, usage?.cachedTokens ?? 0);
    this.#tokens.inc({ model, kind: 'completion' }, usage?.completionTokens ?? record.pieces);
    this.#tokens.inc({ model, kind: 'reasoning' }, usage?.reasoningTokens ?? 0);
  }
}
