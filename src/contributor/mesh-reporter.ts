import type { Clock } from '../protocol/clock.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { SliceName, StageReport } from '../protocol/signaling.ts';
import type { StageStats } from './contributor-state.ts';
import { reportedHints } from './device-hints.ts';
import type { HintSource } from './device-hints.ts';
import type { MeshSession } from '../mesh/mesh-session.ts';

/** Often enough for the server to follow a peer that slows down, and little beside what else a peer sends. */
export const REPORT_INTERVAL_MS = 3_000;

/** Stats of one stage: those of the last report, and the latest. */
interface Heard {
  readonly slice: SliceName;
  reported: StageStats;
  latest: StageStats;
}

/** Tells the server what this device measured while it works, from the joining until `dispose`. Says nothing when there is nothing to say. */
export class MeshReporter {
  readonly #session: MeshSession;
  readonly #clock: Clock;
  readonly #hints: HintSource;
  #heard: Heard | null = null;
  #cancelTimer: () => void = () => undefined;
  #isProbing = false;
  #isDisposed = false;

  constructor(session: MeshSession, clock: Clock, hints: HintSource) {
    this.#session = session;
    this.#clock = clock;
    this.#hints = hints;
    this.#wait();
  }

  /** @param slice what the stage serves; of another stage than before, or a stage loaded anew, the counting begins anew. */
  hear(slice: SliceName, stats: StageStats): void {
    const before = this.#heard;
    const goesOn = before?.slice === slice && stats.steps >= before.latest.steps;
    if (goesOn) before.latest = stats;
    else this.#heard = { slice, reported: stats, latest: stats };
  }

  /** Measures the ways to peers, and reports. While it does, another call does nothing: the server has its answer soon. */
  async probe(peers: readonly PeerId[]): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    await this.#session.transport.probe(peers);
    this.#isProbing = false;
    if (!this.#isDisposed) this.#report();
  }

  /** Idempotent. */
  dispose(): void {
    this.#isDisposed = true;
    this.#cancelTimer();
  }

  #wait(): void {
    this.#cancelTimer = this.#clock.after(REPORT_INTERVAL_MS, () => {
      this.#wait();
      this.#report();
    });
  }

  #report(): void {
    const links = this.#session.transport.linkStats();
    const stage = this.#stageReport();
    if (stage === null && links.length === 0) return;
    const hints = reportedHints(this.#hints.hints);
    this.#session.signaling.send({ type: 'report', stage, links, hints });
  }

  #stageReport(): StageReport | null {
    const heard = this.#heard;
    if (heard === null || heard.latest.atMs <= heard.reported.atMs) return null;
    const { slice, reported, latest } = heard;
    heard.reported = latest;
    const { model, layerStart, layerEnd } = slice;
    return {
      model,
      layerStart,
      layerEnd,
      steps: latest.steps - reported.steps,
      rows: latest.tokens - reported.tokens,
      busySeconds: (latest.busyMs - reported.busyMs) / 1000,
      seconds: (latest.atMs - reported.atMs) / 1000,
      activeSequences: latest.activeSequences,
      freeCacheTokens: latest.freeCacheTokens,
      cacheTokens: latest.cacheTokens,
    };
  }
}
