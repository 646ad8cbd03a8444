import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import { DRAIN_TIMEOUT_MS } from '../protocol/limits.ts';
import type { Capability, LayerWish, ServerMessage, SliceName } from '../protocol/signaling.ts';
import { NO_STATS } from './contributor-state.ts';
import type { ContributorState, PauseReason, StageStats } from './contributor-state.ts';
import type { HintSource } from './device-hints.ts';
import { EngineKeeper, MAX_REBUILDS, REBUILD_WINDOW_MS } from './engine-keeper.ts';
import type { EngineHost, MeasureOptions } from './engine-host.ts';
import { LentStage } from './lent-stage.ts';
import { MeshReporter } from './mesh-reporter.ts';
import type { MeshSession } from '../mesh/mesh-session.ts';
import { assignedSlice, sameSlice, sayJoin, sayReloading, sayServing } from './slice-messages.ts';

export interface LendingOptions {
  readonly createHost: () => EngineHost;
  readonly clock: Clock;
  readonly hints: HintSource;
  /** Told of every change; `idle`, `failed` or `paused` by `battery-low` is the last. */
  readonly onState: (state: ContributorState) => void;
}

type MeasureWishes = Pick<MeasureOptions, 'memoryLimitBytes' | 'timesKernels'>;

export interface LendingWishes extends MeasureWishes {
  /** Layers to be asked for; by default whatever the mesh needs. */
  readonly layers?: LayerWish;
}

/** From one start to the stop or failure that ends it. Measures, joins, loads what is assigned, serves it, leaves. */
export class Lending {
  readonly #options: LendingOptions;
  readonly #engine: EngineKeeper;
  readonly #wish: LayerWish | null;
  readonly #abort = new AbortController();
  #session: MeshSession | null;
  #state: ContributorState = { phase: 'measuring' };
  /** Null until the device is measured. */
  #capability: Capability | null = null;
  /** Of the session that it joined through last. */
  #reporter: MeshReporter | null = null;
  #stage: LentStage | null = null;
  #cancelDrain: () => void = () => undefined;
  #isOver = false;

  /** Touches the GPU. */
  constructor(options: LendingOptions, wishes: LendingWishes, session: MeshSession | null) {
    this.#options = options;
    this.#session = session;
    const { createHost, clock } = options;
    this.#engine = new EngineKeeper({ createHost, clock, onLost: (error) => this.#lose(error) });
    const { layers, ...bounds } = wishes;
    this.#wish = layers ?? null;
    void this.#measure(bounds);
  }

  get state(): ContributorState {
    return this.#state;
  }

  /** A new session is a new peer, which joins and loads anew. */
  setSession(session: MeshSession | null): void {
    this.#session = session;
    if (this.#capability === null || this.#state.phase === 'paused') return;
    if (this.#state.phase === 'waiting' && session === null) this.#wait(this.#capability);
    if (session === null) return;
    if (this.#state.phase === 'stopping') this.#finishDraining();
    else this.#join(this.#capability);
  }

  /** The connection is back under the same id: what serves goes on, and the server is told of it. */
  resume(session: MeshSession): void {
    const isLending = this.#state.phase !== 'stopping' && this.#state.phase !== 'paused';
    if (this.#capability === null || !isLending) return;
    const holds = this.#state.phase === 'serving' ? this.#state.slice : null;
    if (this.#stage !== null) this.#stage.assignment = holds === null ? null : {};
    this.#sayJoin(session, this.#capability, holds);
  }

  /**
   * Takes no new work, lets answers under way finish for at most `DRAIN_TIMEOUT_MS`, and frees the GPU.
   * Called again while it drains, it frees the GPU at once.
   * @param reason where it is not the person who wants it.
   */
  stop(reason?: PauseReason): void {
    if (this.#state.phase !== 'serving') {
      this.#end(afterStop(reason));
      return;
    }
    this.#session?.signaling.send({ type: 'leave' });
    // Left at the next report that says 0: the last one may be older than the newest request.
    const { activeSequences } = this.#state.stats;
    this.#show({ phase: 'stopping', activeSequences, ...(reason && { reason }) });
    this.#cancelDrain = this.#options.clock.after(DRAIN_TIMEOUT_MS, () => this.#finishDraining());
  }

  /** Says goodbye and frees everything, whatever is under way. */
  leave(): void {
    this.#end({ phase: 'idle' });
  }

  /** The page is about to stand still: a stage that stands still with it would only keep others waiting. */
  freeze(): void {
    if (this.#state.phase === 'stopping') this.leave();
    if (this.#capability === null || this.#isOver) return;
    this.#session?.signaling.send({ type: 'leave' });
    this.#dropReporter();
    this.#dropStage();
    this.#show({ phase: 'paused', reason: 'frozen' });
  }

  thaw(): void {
    if (this.#capability !== null && this.#state.phase === 'paused') this.#join(this.#capability);
  }

  assign(session: MeshSession, message: Extract<ServerMessage, { type: 'assign' }>): void {
    if (!this.#takesWork()) return;
    const card = session.models.find((model) => model.id === message.model);
    if (card === undefined) {
      const words = `The server assigned ${message.model}, which it did not offer.`;
      const error = new SkeinError('model-missing', words);
      session.signaling.send({ type: 'load-failed', error: error.toShape() });
      return;
    }
    const stage = this.#stage;
    if (stage !== null && stage.session === session && sameSlice(stage.slice, message)) {
      stage.assignment = message;
      if (this.#state.phase === 'serving') sayServing(session, stage.slice, message.turn);
      return;
    }
    this.#dropStage();
    this.#load(new LentStage(assignedSlice(card, message), card, session, message));
  }

  unassign(): void {
    if (this.#capability === null || !this.#takesWork()) return;
    this.#dropStage();
    this.#wait(this.#capability);
  }

  probe(message: Extract<ServerMessage, { type: 'probe' }>): void {
    void this.#reporter?.probe(message.peers);
  }

  /** While nothing but an answer to `join` is due, the server's refusal is about that. `peer-lost` is about links. */
  hearError(error: SkeinError): void {
    if (this.#state.phase === 'waiting' && error.code !== 'peer-lost') this.#fail(error);
  }

  /**
   * The server wants to know whether this peer is alive. While it serves, its engine has to answer first. An engine that
   * hangs is started anew, of which the server hears before it hears that the peer is there.
   */
  async answerRollCall(answer: () => void): Promise<void> {
    const { phase } = this.#state;
    if (phase === 'serving' || phase === 'stopping') await this.#engine.isAlive();
    answer();
  }

  #takesWork(): boolean {
    const { phase } = this.#state;
    return this.#capability !== null && !this.#isOver && phase !== 'stopping' && phase !== 'paused';
  }

  async #measure(wishes: MeasureWishes): Promise<void> {
    try {
      const capability = await this.#engine.measure({ ...wishes, signal: this.#abort.signal });
      if (this.#isOver) return;
      this.#capability = capability;
      this.#join(capability);
    } catch (thrown) {
      this.#fail(SkeinError.from(thrown));
    }
  }

  #join(capability: Capability): void {
    this.#dropStage();
    this.#dropReporter();
    this.#wait(capability);
    const session = this.#session;
    if (session === null) return;
    this.#sayJoin(session, capability, null);
    this.#reporter = new MeshReporter(session, this.#options.clock, this.#options.hints);
  }

  #sayJoin(session: MeshSession, capability: Capability, holds: SliceName | null): void {
    sayJoin(session, capability, this.#engine.cachedSlices(session.models), holds, this.#wish);
  }

  #wait(capability: Capability): void {
    const waitingFor = this.#session === null ? 'server' : 'work';
    this.#show({ phase: 'waiting', capability, waitingFor });
  }

  /** @param lost why it is loaded again, where it is. */
  #load(stage: LentStage, lost: SkeinError | null = null): void {
    const { slice } = stage;
    const capability = this.#capability;
    if (capability === null) return;
    this.#stage = stage;
    void stage.load(this.#engine, capability.memoryBytes, {
      progress: (loadedBytes, totalBytes) => {
        const common = { capability, slice, loadedBytes, totalBytes };
        this.#show(
          lost === null ? { phase: 'loading', ...common } : { phase: 'rebuilding', ...common, error: lost },
        );
      },
      serving: () => this.#serve(stage, capability),
      stats: (stats) => {
        this.#reporter?.hear(slice, stats);
        this.#hearStats(stats);
      },
      failed: (error) => this.#hearLoadError(stage, error, lost !== null),
    });
  }

  #serve(stage: LentStage, capability: Capability): void {
    const { slice, session, assignment } = stage;
    this.#show({ phase: 'serving', capability, slice, stats: NO_STATS });
    if (assignment !== null) sayServing(session, slice, assignment.turn);
    else this.#sayJoin(session, capability, slice);
    stage.assignment ??= {};
  }

  /** A device that was just lost may take a moment before there is an adapter again. */
  #hearLoadError(stage: LentStage, error: SkeinError, isRebuilding: boolean): void {
    if (error.code === 'device-lost' || (isRebuilding && error.code === 'no-adapter')) {
      this.#lose(error);
      return;
    }
    stage.session.signaling.send({ type: 'load-failed', error: error.toShape() });
    this.#fail(error);
  }

  #hearStats(stats: StageStats): void {
    if (this.#state.phase === 'serving') {
      this.#show({ ...this.#state, stats });
    } else if (this.#state.phase === 'stopping') {
      if (stats.activeSequences === 0) this.#finishDraining();
      else this.#show({ ...this.#state, activeSequences: stats.activeSequences });
    }
  }

  /** The device is gone: another one loads the same slice, where that was not tried too often. */
  #lose(error: SkeinError): void {
    if (this.#isOver) return;
    const { phase } = this.#state;
    if (phase === 'measuring') this.#fail(error);
    else if (phase === 'stopping') this.#finishDraining();
    else if (!this.#engine.renew()) this.#fail(tooManyLosses(error));
    else if (this.#stage !== null) this.#rebuild(this.#stage, error);
  }

  #rebuild(lost: LentStage, error: SkeinError): void {
    lost.drop();
    sayReloading(lost.session, lost.slice, error);
    this.#load(lost.again(), error);
  }

  #dropStage(): void {
    if (this.#stage === null) return;
    this.#stage.drop();
    this.#stage = null;
    this.#engine.unload();
  }

  #dropReporter(): void {
    this.#reporter?.dispose();
    this.#reporter = null;
  }

  #finishDraining(): void {
    this.#end(afterStop(this.#state.phase === 'stopping' ? this.#state.reason : undefined));
  }

  #fail(error: SkeinError): void {
    this.#end({ phase: 'failed', error });
  }

  #end(state: ContributorState): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const hasLeft = this.#state.phase === 'stopping' || this.#state.phase === 'paused';
    if (!hasLeft && this.#capability !== null) this.#session?.signaling.send({ type: 'leave' });
    this.#cancelDrain();
    this.#dropReporter();
    this.#stage?.drop();
    this.#abort.abort();
    this.#engine.dispose();
    this.#state = state;
    this.#options.onState(state);
  }

  #show(state: ContributorState): void {
    this.#state = state;
    this.#options.onState(state);
  }
}

function afterStop(reason: PauseReason | undefined): ContributorState {
  return reason === undefined ? { phase: 'idle' } : { phase: 'paused', reason };
}

function tooManyLosses(error: SkeinError): SkeinError {
  const minutes = REBUILD_WINDOW_MS / 60_000;
  return new SkeinError(
    'device-lost',
    `The GPU was lost ${MAX_REBUILDS + 1} times within ${minutes} minutes, so it is not tried again. The last time: ${error.message}`,
    { data: error.data, cause: error },
  );
}
