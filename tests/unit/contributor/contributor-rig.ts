import { Contributor } from '../../../src/contributor/contributor.ts';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import type { ContributorState, StageStats } from '../../../src/contributor/contributor-state.ts';
import type { ClientMessage } from '../../../src/protocol/signaling.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { CAPABILITY, FakeHints, FakeHost, FakeSession, settled, TINY } from './fakes.ts';

export const GIB = 1024 ** 3;

export const stats = (activeSequences: number): StageStats => ({ ...NO_STATS, activeSequences });

/** A contributor whose engines, server, battery and time are the test's. */
export class ContributorRig {
  readonly hosts: FakeHost[] = [];
  readonly clock = new ManualClock();
  readonly hints = new FakeHints();
  readonly session = new FakeSession('a');
  readonly contributor: Contributor;
  /** Every phase that was shown, without repetitions. */
  readonly phases: ContributorState['phase'][] = [];
  /** What happens to each new host. */
  onHost: (host: FakeHost) => void = () => undefined;

  constructor() {
    this.contributor = new Contributor({
      clock: this.clock,
      hints: this.hints,
      createHost: () => {
        const host = new FakeHost();
        this.onHost(host);
        this.hosts.push(host);
        return host;
      },
    });
    this.contributor.subscribe(({ phase }) => {
      if (this.phases.at(-1) !== phase) this.phases.push(phase);
    });
    this.contributor.setSession(this.session);
  }

  get state(): ContributorState {
    return this.contributor.state;
  }

  get sentTypes(): ClientMessage['type'][] {
    return this.session.sent.map(({ type }) => type);
  }

  /** The newest by default. */
  host(index = this.hosts.length - 1): FakeHost {
    const found = this.hosts[index];
    if (found === undefined) throw new Error(`no host ${index}`);
    return found;
  }

  async measured(): Promise<void> {
    this.contributor.start({ memoryLimitBytes: 2 * GIB });
    this.host().measuring.resolve(CAPABILITY);
    await settled();
  }

  assign(layerStart = 0, layerEnd = 4): void {
    this.session.deliver({ type: 'assign', model: TINY.id, layerStart, layerEnd });
  }

  async loading(): Promise<void> {
    await this.measured();
    this.assign();
  }

  /** The load that waits is done. */
  async loaded(): Promise<void> {
    this.host().lastLoad.done.resolve(undefined);
    await settled();
  }

  async serving(): Promise<void> {
    await this.loading();
    await this.loaded();
  }
}
