import { systemClock } from '../protocol/clock.ts';
import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ServerMessage } from '../protocol/signaling.ts';
import type { ContributorState } from './contributor-state.ts';
import { isBatteryLow, NO_HINTS } from './device-hints.ts';
import type { DeviceHints, HintSource } from './device-hints.ts';
import type { EngineHost } from './engine-host.ts';
import { Lending } from './lending.ts';
import type { LendingWishes } from './lending.ts';
import type { MeshSession } from '../mesh/mesh-session.ts';
import { Observable } from '../mesh/observable.ts';

export interface ContributorOptions {
  /** Makes a host that has not touched the GPU yet; each `start` takes a new one, and so does each lost device. */
  readonly createHost: () => EngineHost;
  /** In a page one whose timers run in hidden tabs too. */
  readonly clock?: Clock;
  /** What is known of this device and whether anybody looks at it; nothing by default. */
  readonly hints?: HintSource;
}

/**
 * Lends this device to the mesh, as long as the person wants it and the battery has it.
 * Nothing touches the GPU before `start`, and nothing holds it after `stop`.
 */
export class Contributor {
  readonly #state = new Observable<ContributorState>({ phase: 'idle' });
  readonly #options: ContributorOptions;
  readonly #hints: HintSource;
  #session: MeshSession | null = null;
  #stopListening: () => void = () => undefined;
  #lending: Lending | null = null;
  /** What the person asked for last. */
  #wishes: LendingWishes | null = null;
  #isBatteryLow: boolean;

  constructor(options: ContributorOptions) {
    this.#options = options;
    this.#hints = options.hints ?? NO_HINTS;
    this.#isBatteryLow = isBatteryLow(this.#hints.hints);
    this.#hints.subscribe((hints) => this.#hearHints(hints));
  }

  get state(): ContributorState {
    return this.#state.value;
  }

  subscribe(listener: (state: ContributorState) => void): () => void {
    return this.#state.subscribe(listener);
  }

  /**
   * The session to work through; null while there is none. A stage that serves goes on while the server is away, since its
   * links need no server. A session that is resumed stays the same one; another is another peer.
   */
  setSession(session: MeshSession | null): void {
    if (session === this.#session) return;
    this.#stopListening();
    this.#session = session;
    this.#stopListening = session === null ? () => undefined : this.#listen(session);
    this.#lending?.setSession(session);
  }

  /** Does nothing while running. Starts on a low battery too: the person knows. */
  start(wishes: LendingWishes): void {
    if (this.#lending !== null) return;
    this.#wishes = wishes;
    const lending: Lending = new Lending(
      {
        createHost: this.#options.createHost,
        clock: this.#options.clock ?? systemClock,
        hints: this.#hints,
        onState: (state) => this.#hearState(state),
      },
      wishes,
      this.#session,
    );
    this.#lending = lending;
    this.#state.value = lending.state;
  }

  /** Takes no new work, finishes answers under way, and frees the GPU; called again, it frees the GPU at once. */
  stop(): void {
    if (this.#lending === null) this.#state.value = { phase: 'idle' };
    else this.#lending.stop();
  }

  /** The page is going away: goodbye at once, while there is a connection to say it over. */
  leave(): void {
    this.#lending?.leave();
  }

  /** The browser is about to freeze the page. */
  freeze(): void {
    this.#lending?.freeze();
  }

  /** The page runs again. */
  thaw(): void {
    this.#lending?.thaw();
  }

  #listen(session: MeshSession): () => void {
    const { signaling } = session;
    const stops = [
      signaling.on('assign', (message) => this.#lending?.assign(session, message)),
      signaling.on('unassign', () => this.#lending?.unassign()),
      signaling.on('probe', (message) => this.#lending?.probe(message)),
      signaling.on('error', ({ error }) => this.#lending?.hearError(SkeinError.fromShape(error))),
      signaling.on('resumed', () => this.#lending?.resume(session)),
      signaling.on('roll-call', (message) => this.#answerRollCall(session, message)),
    ];
    return () => stops.forEach((stop) => stop());
  }

  #answerRollCall(session: MeshSession, { nonce }: Extract<ServerMessage, { type: 'roll-call' }>): void {
    const answer = () => session.signaling.send({ type: 'present', nonce });
    if (this.#lending === null) answer();
    else void this.#lending.answerRollCall(answer);
  }

  #hearState(state: ContributorState): void {
    const isOver =
      state.phase === 'idle' ||
      state.phase === 'failed' ||
      (state.phase === 'paused' && state.reason === 'battery-low');
    if (isOver) this.#lending = null;
    this.#state.value = state;
    this.#goOn();
  }

  #hearHints(hints: DeviceHints): void {
    const wasLow = this.#isBatteryLow;
    this.#isBatteryLow = isBatteryLow(hints);
    if (this.#isBatteryLow && !wasLow) this.#pause();
    else this.#goOn();
  }

  #pause(): void {
    // What drains already ends soon; asked twice, it would break off.
    if (this.#lending !== null && this.state.phase !== 'stopping') this.#lending.stop('battery-low');
  }

  /** Where only the battery was in the way. */
  #goOn(): void {
    const isPaused = this.state.phase === 'paused' && this.state.reason === 'battery-low';
    if (isPaused && !this.#isBatteryLow && this.#wishes !== null) this.start(this.#wishes);
  }
}
