import { systemClock } from '../protocol/clock.ts';
import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import { DRAIN_TIMEOUT_MS, MAX_CACHED_SLICES } from '../protocol/limits.ts';
import type { Capability, ModelCard, ServerMessage } from '../protocol/signaling.ts';
import { NO_STATS } from './contributor-state.ts';
import type { AssignedSlice, ContributorState } from './contributor-state.ts';
import type { EngineHost, MeasureOptions } from './engine-host.ts';
import type { MeshSession } from './mesh-session.ts';
import { MeshReporter } from './mesh-reporter.ts';
import { Observable } from './observable.ts';

export interface ContributorOptions {
  /** Makes a host that has not touched the GPU yet; each `start` takes a new one. */
  readonly createHost: () => EngineHost;
  /** Aborts after the time; injected so that tests own the clock. */
  readonly deadline?: (timeoutMs: number) => AbortSignal;
  readonly clock?: Clock;
}

/** From one `start` to the stop or failure that ends it. Callbacks of an older run are dropped by identity. */
interface Run {
  readonly host: EngineHost;
  readonly abort: AbortController;
  capability: Capability | null;
  /** Of the session that it joined through last. */
  reporter: MeshReporter | null;
  stage: Stage | null;
}

/** One assignment of a run: loading or serving. */
interface Stage {
  readonly slice: AssignedSlice;
  readonly session: MeshSession;
  readonly abort: AbortController;
}

/**
 * Lends this device to the mesh: measures it, joins, loads what the server assigns, serves it, leaves.
 * Nothing touches the GPU before `start`, and nothing holds it after `stop`.
 */
export class Contributor {
  readonly #state = new Observable<ContributorState>({ phase: 'idle' });
  readonly #options: ContributorOptions;
  #session: MeshSession | null = null;
  #stopListening: () => void = () => undefined;
  #run: Run | null = null;

  constructor(options: ContributorOptions) {
    this.#options = options;
  }

  get state(): ContributorState {
    return this.#state.value;
  }

  subscribe(listener: (state: ContributorState) => void): () => void {
    return this.#state.subscribe(listener);
  }

  /**
   * The connection to work through; null while there is none. A stage that serves goes on while the server is
   * away, since its links need no server; a new session is a new peer, which joins and loads anew.
   */
  setSession(session: MeshSession | null): void {
    if (session === this.#session) return;
    this.#stopListening();
    this.#session = session;
    this.#stopListening = session === null ? () => undefined : this.#listen(session);
    const run = this.#run;
    if (run?.capability == null) return;
    if (this.state.phase === 'waiting' && session === null) this.#wait(run.capability);
    if (session === null) return;
    if (this.state.phase === 'stopping') this.#end(run, { phase: 'idle' });
    else this.#join(run, run.capability);
  }

  /** Does nothing while running. @param wishes.memoryLimitBytes what the person allows. */
  start(wishes: Pick<MeasureOptions, 'memoryLimitBytes' | 'timesKernels'>): void {
    if (this.#run !== null) return;
    const run: Run = {
      host: this.#options.createHost(),
      abort: new AbortController(),
      capability: null,
      reporter: null,
      stage: null,
    };
    this.#run = run;
    this.#state.value = { phase: 'measuring' };
    void run.host.lost.then((error) => this.#fail(run, error));
    void this.#measure(run, wishes);
  }

  /**
   * Takes no new work, lets answers under way finish for at most `DRAIN_TIMEOUT_MS`, and frees the GPU.
   * Called again while it drains, it frees the GPU at once.
   */
  stop(): void {
    const run = this.#run;
    if (run === null) {
      this.#state.value = { phase: 'idle' };
      return;
    }
    if (this.state.phase !== 'serving') {
      this.#end(run, { phase: 'idle' });
      return;
    }
    this.#session?.signaling.send({ type: 'leave' });
    // Left at the next report that says 0: the last one may be older than the newest request.
    this.#state.value = { phase: 'stopping', activeSequences: this.state.stats.activeSequences };
    const deadline = (this.#options.deadline ?? AbortSignal.timeout.bind(AbortSignal))(DRAIN_TIMEOUT_MS);
    deadline.addEventListener('abort', () => this.#end(run, { phase: 'idle' }), {
      signal: run.abort.signal,
    });
  }

  #listen(session: MeshSession): () => void {
    const stops = [
      session.signaling.on('assign', (message) => this.#assign(session, message)),
      session.signaling.on('unassign', () => this.#unassign()),
      session.signaling.on('probe', ({ peers }) => void this.#run?.reporter?.probe(peers)),
      session.signaling.on('error', ({ error }) => this.#hearError(SkeinError.fromShape(error))),
    ];
    return () => stops.forEach((stop) => stop());
  }

  /** While nothing but an answer to `join` is due, the server's refusal is about that. `peer-lost` is about links. */
  #hearError(error: SkeinError): void {
    if (this.#run !== null && this.state.phase === 'waiting' && error.code !== 'peer-lost') {
      this.#fail(this.#run, error);
    }
  }

  async #measure(run: Run, wishes: Pick<MeasureOptions, 'memoryLimitBytes' | 'timesKernels'>): Promise<void> {
    try {
      const capability = await run.host.measure({ ...wishes, signal: run.abort.signal });
      if (this.#run !== run) return;
      run.capability = capability;
      this.#join(run, capability);
    } catch (thrown) {
      this.#fail(run, SkeinError.from(thrown));
    }
  }

  #join(run: Run, capability: Capability): void {
    this.#dropStage(run);
    this.#wait(capability);
    run.reporter?.dispose();
    run.reporter = null;
    const session = this.#session;
    if (session === null) return;
    const cached = run.host.cachedSlices(session.models).slice(0, MAX_CACHED_SLICES);
    session.signaling.send({ type: 'join', capability, cached });
    run.reporter = new MeshReporter(session, this.#options.clock ?? systemClock);
  }

  #wait(capability: Capability): void {
    const waitingFor = this.#session === null ? 'server' : 'work';
    this.#state.value = { phase: 'waiting', capability, waitingFor };
  }

  #unassign(): void {
    const run = this.#run;
    if (run?.capability == null || this.state.phase === 'stopping') return;
    this.#dropStage(run);
    this.#wait(run.capability);
  }

  #assign(session: MeshSession, message: Extract<ServerMessage, { type: 'assign' }>): void {
    const run = this.#run;
    if (run?.capability == null || this.state.phase === 'stopping') return;
    const card = session.models.find((model) => model.id === message.model);
    if (card === undefined) {
      const error = new SkeinError(
        'model-missing',
        `The server assigned ${message.model}, which it did not offer.`,
      );
      session.signaling.send({ type: 'load-failed', error: error.toShape() });
      return;
    }
    if (run.stage !== null && run.stage.session === session && sameSlice(run.stage.slice, message)) {
      if (this.state.phase === 'serving') sendServing(run.stage);
      return;
    }
    this.#dropStage(run);
    const { model, layerStart, layerEnd } = message;
    const slice = {
      model,
      layerStart,
      layerEnd,
      layerCount: card.layerCount,
      quantization: card.quantization,
    };
    run.stage = { slice, session, abort: new AbortController() };
    void this.#load(run, run.stage, run.capability, card);
  }

  async #load(run: Run, stage: Stage, capability: Capability, model: ModelCard): Promise<void> {
    const { slice, session } = stage;
    const isWanted = () => this.#run === run && run.stage === stage;
    const progress = (loadedBytes: number, totalBytes: number) => {
      if (isWanted() && this.state.phase !== 'stopping') {
        this.#state.value = { phase: 'loading', capability, slice, loadedBytes, totalBytes };
      }
    };
    progress(0, 0);
    try {
      await run.host.load({
        model,
        layerStart: slice.layerStart,
        layerEnd: slice.layerEnd,
        memoryBytes: capability.memoryBytes,
        transport: session.transport,
        signal: stage.abort.signal,
        onProgress: (loadedBytes, totalBytes) => {
          if (this.state.phase === 'loading') progress(loadedBytes, totalBytes);
        },
        onStats: (stats) => {
          if (!isWanted()) return;
          run.reporter?.hear(slice, stats);
          this.#showStats(run, stage, capability, stats);
        },
      });
      if (!isWanted()) return;
      this.#state.value = { phase: 'serving', capability, slice, stats: NO_STATS };
      sendServing(stage);
    } catch (thrown) {
      if (!isWanted()) return;
      const error = SkeinError.from(thrown);
      session.signaling.send({ type: 'load-failed', error: error.toShape() });
      this.#fail(run, error);
    }
  }

  #showStats(run: Run, stage: Stage, capability: Capability, stats: typeof NO_STATS): void {
    if (this.state.phase === 'serving') {
      this.#state.value = { phase: 'serving', capability, slice: stage.slice, stats };
    } else if (this.state.phase === 'stopping') {
      if (stats.activeSequences === 0) this.#end(run, { phase: 'idle' });
      else this.#state.value = { phase: 'stopping', activeSequences: stats.activeSequences };
    }
  }

  #dropStage(run: Run): void {
    if (run.stage === null) return;
    run.stage.abort.abort();
    run.stage = null;
    run.host.unload();
  }

  #fail(run: Run, error: SkeinError): void {
    this.#end(run, { phase: 'failed', error });
  }

  #end(run: Run, state: ContributorState): void {
    if (this.#run !== run) return;
    this.#run = null;
    const hasLeft = this.state.phase === 'stopping';
    if (!hasLeft && run.capability !== null) this.#session?.signaling.send({ type: 'leave' });
    run.reporter?.dispose();
    run.stage?.abort.abort();
    run.abort.abort();
    run.host.dispose();
    this.#state.value = state;
  }
}

function sameSlice(a: AssignedSlice, b: { model: string; layerStart: number; layerEnd: number }): boolean {
  return a.model === b.model && a.layerStart === b.layerStart && a.layerEnd === b.layerEnd;
}

function sendServing({ slice, session }: Stage): void {
  const { model, layerStart, layerEnd } = slice;
  session.signaling.send({ type: 'serving', model, layerStart, layerEnd });
}
