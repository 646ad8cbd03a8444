import { setTimeout as sleep } from 'node:timers/promises';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { TabPeer } from '../churn/tab-peer.ts';
import type { ChaosMesh } from './chaos-mesh.ts';
import type { PeerProcess } from './peer-process.ts';
import type { Fault } from './plan.ts';

const POLL_MS = 50;
/** A mesh that is not whole after this time is harmed all the same: what does not mend by itself is to be seen. */
const READY_TIMEOUT_MS = 30_000;
/** What a run began has ended after this time, or never does. */
const SETTLE_TIMEOUT_MS = 60_000;

export interface DoneFault {
  readonly fault: Fault;
  /** It waited for a mesh that was ready for it. */
  readonly waitedMs: number;
}

/** Carries out faults: one at a time begins, and they go on beside each other. */
export class FaultDesk {
  readonly done: DoneFault[] = [];
  readonly #mesh: ChaosMesh;
  readonly #tabs: readonly TabPeer[];
  readonly #onProgress: (line: string) => void;
  /** Peers that something is done to at present, and the server. */
  readonly #harmed = new Set<PeerProcess | TabPeer | 'server'>();
  readonly #underWay = new Set<Promise<void>>();
  #waitedMs = 0;
  #wireSeed = 0;

  constructor(mesh: ChaosMesh, tabs: readonly TabPeer[], onProgress: (line: string) => void) {
    this.#mesh = mesh;
    this.#tabs = tabs;
    this.#onProgress = onProgress;
  }

  /** Resolves when the target serves and nothing else is done to it, and every layer is served; or after a time. */
  async ready(fault: Fault, enough: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    const waited = () => performance.now() - startedAt;
    while (!enough.aborted && waited() < READY_TIMEOUT_MS && !(await this.#isReady(fault)))
      await sleep(POLL_MS);
    this.#waitedMs = waited();
  }

  /** Does it, and what ends it later. */
  begin(fault: Fault): void {
    this.done.push({ fault, waitedMs: this.#waitedMs });
    const target = this.#target(fault);
    this.#harmed.add(target);
    const work = this.#carryOut(fault)
      .catch((thrown: unknown) => this.#onProgress(`${fault.kind}: ${SkeinError.from(thrown).message}`))
      .finally(() => {
        this.#harmed.delete(target);
        this.#underWay.delete(work);
      });
    this.#underWay.add(work);
  }

  /** Resolves when everything that was begun is over. */
  async settle(): Promise<void> {
    await Promise.race([Promise.all(this.#underWay), sleep(SETTLE_TIMEOUT_MS)]);
  }

  async #isReady(fault: Fault): Promise<boolean> {
    const target = this.#target(fault);
    if (this.#harmed.has(target) || this.#harmed.has('server') || this.#mesh.covered.length === 0)
      return false;
    if (target === 'server') return true;
    if (!('isServing' in target)) {
      const peer = await target.peerId();
      return peer !== null && this.#mesh.serves(peer);
    }
    return this.#mesh.isServing(target);
  }

  #target(fault: Fault): PeerProcess | TabPeer | 'server' {
    if (fault.kind === 'restart-server') return 'server';
    const { peers } = this.#mesh;
    const target = peers[fault.peer] ?? this.#tabs[fault.peer - peers.length];
    if (target === undefined) throw new SkeinError('internal', `There is no peer ${fault.peer}.`);
    return target;
  }

  async #carryOut(fault: Fault): Promise<void> {
    const target = this.#target(fault);
    if (fault.kind === 'restart-server') {
      const { server } = this.#mesh;
      await server.kill();
      await sleep(fault.downMs);
      await server.start();
      return;
    }
    if (target === 'server') return;
    if (fault.kind === 'kill' || fault.kind === 'leave') {
      await this.#away(target, fault);
      return;
    }
    if ('crash' in target) throw new SkeinError('internal', `A tab cannot be harmed by ${fault.kind}.`);
    switch (fault.kind) {
      case 'freeze':
        target.freeze();
        await sleep(fault.forMs);
        target.thaw();
        break;
      case 'slow':
        target.slowDown();
        await sleep(fault.forMs);
        target.speedUp();
        break;
      case 'lose-device':
        target.command({ type: 'lose-device' });
        break;
      default:
        target.command({
          type: 'wire',
          trouble: { kind: fault.kind, share: fault.share },
          seed: this.#wireSeed++,
        });
        await sleep(fault.forMs);
        target.command({ type: 'wire', trouble: null, seed: 0 });
    }
  }

  async #away(
    target: PeerProcess | TabPeer,
    fault: Extract<Fault, { kind: 'kill' | 'leave' }>,
  ): Promise<void> {
    if (fault.kind === 'leave') await target.leave();
    else await ('crash' in target ? target.crash() : target.kill());
    await target.gone();
    await sleep(fault.restMs);
    await target.start();
  }
}
