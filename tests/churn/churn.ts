import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from '@playwright/test';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { copyTunings } from '../rig/copy-tunings.ts';
import { EMBEDDED_MODEL, startMesh } from '../rig/local-server.ts';
import { CHROMIUM_FLAGS } from '../rig/rig.ts';
import type { ChurnPeer } from './churn-peer.ts';
import { Load } from './load.ts';
import type { LoadTotals } from './load.ts';
import { makePeers } from './make-peers.ts';
import { MeshWatch } from './mesh-watch.ts';

/** Measuring, loading and compiling on a software GPU, with others beside it. */
const FIRST_COVERAGE_TIMEOUT_MS = 150_000;
/** A peer is gone for this long, and a random part of as much again. */
const REST_MS = 1_000;
const POLL_MS = 50;
/** When nobody leaves any more, all is well within this time or never. */
const SETTLE_TIMEOUT_MS = 60_000;

export interface ChurnOptions {
  readonly chromiumPath: string;
  readonly durationMs: number;
  readonly tabs: number;
  readonly nodes: number;
  readonly stages: number;
  /** Requests at a time. */
  readonly requesters: number;
  /** Between two leaves; a random part of as much again is added. */
  readonly intervalMs: number;
  /** No peer is made to leave when no more than these serve. */
  readonly minServing: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** The Vulkan driver of Node peers, where it is not the machine's own. */
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

export type LeaveKind = 'tab stopped' | 'tab closed' | 'node stopped' | 'node killed';

/** How devices of a kind leave: politely, and not. */
const LEAVE_KINDS = {
  tab: ['tab stopped', 'tab closed'],
  node: ['node stopped', 'node killed'],
} as const satisfies Record<ChurnPeer['kind'], readonly [LeaveKind, LeaveKind]>;

/** Why nobody was made to leave when it was time. */
export type SkipReason = 'layers are missing' | 'too few serve' | 'nobody to choose';

export interface ChurnResult {
  readonly adapter: string;
  readonly seconds: number;
  readonly load: LoadTotals;
  /** Every kind that there are devices for, also those of which there was none. */
  readonly leaves: ReadonlyMap<LeaveKind, number>;
  readonly skipped: ReadonlyMap<SkipReason, number>;
  /** Devices that came back, and those of them that came to serve. */
  readonly joins: number;
  readonly joinsThatServed: number;
  readonly watch: MeshWatch;
  /** What each peer id that ever served was. */
  readonly kinds: ReadonlyMap<PeerId, ChurnPeer['kind']>;
}

/** A mesh on this machine that is never the same for long, and whether anybody who asks it notices. */
export async function runChurn(options: ChurnOptions): Promise<ChurnResult> {
  const cacheFolder = await mkdtemp(join(tmpdir(), 'skein-churn-'));
  const server = await startMesh(options.stages);
  const browser = await chromium.launch({ executablePath: options.chromiumPath, args: [...CHROMIUM_FLAGS] });
  const session = await openNodeSession(server.url, new AbortController().signal);
  const peers: ChurnPeer[] = [];
  // Processes do not end with the one that started them.
  const interrupted = () => {
    void Promise.all(peers.filter(({ kind }) => kind === 'node').map((peer) => peer.crash())).then(() =>
      process.exit(1),
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    await copyTunings(cacheFolder);
    peers.push(...(await makePeers(options, server.url, browser, cacheFolder)));
    return await new Churn(options, session, peers).run();
  } finally {
    await Promise.all(peers.filter(({ kind }) => kind === 'node').map((peer) => peer.crash()));
    await browser.close();
    session.dispose();
    await server.close();
    await rm(cacheFolder, { recursive: true, force: true });
  }
}

interface ServingPeer {
  readonly peer: ChurnPeer;
  readonly id: PeerId;
}

class Churn {
  readonly #options: ChurnOptions;
  readonly #session: LiveSession;
  readonly #peers: readonly ChurnPeer[];
  readonly #watch: MeshWatch;
  readonly #leaves: Map<LeaveKind, number>;
  readonly #skipped = new Map<SkipReason, number>();
  readonly #kinds = new Map<PeerId, ChurnPeer['kind']>();
  /** Peers that were told to leave and are not told to come again yet. */
  readonly #away = new Set<ChurnPeer>();
  readonly #returns: Promise<void>[] = [];
  /** Peers that came back and were not seen to serve yet. */
  readonly #returned = new Set<ChurnPeer>();
  #joins = 0;
  #joinsThatServed = 0;
  #adapter = 'unknown';

  constructor(options: ChurnOptions, session: LiveSession, peers: readonly ChurnPeer[]) {
    this.#options = options;
    this.#session = session;
    this.#peers = peers;
    this.#leaves = new Map(peers.flatMap(({ kind }) => LEAVE_KINDS[kind]).map((kind) => [kind, 0]));
    const [card] = session.models;
    if (card === undefined) throw new SkeinError('model-missing', 'The server offers no model.');
    this.#watch = new MeshWatch(card.id, card.layerCount, () => performance.now());
  }

  async run(): Promise<ChurnResult> {
    const { onProgress, requesters, durationMs } = this.#options;
    const [card] = this.#session.models;
    if (card === undefined) throw new SkeinError('model-missing', 'The server offers no model.');
    const openedAt = performance.now();
    const stopWatching = this.#session.signaling.on('mesh', (mesh) => {
      const before = this.#watch.words;
      this.#watch.hear(mesh);
      const { words } = this.#watch;
      if (words !== before) onProgress(`${((performance.now() - openedAt) / 1000).toFixed(1)} s: ${words}`);
      const serving = mesh.members.find(({ state }) => state === 'serving');
      if (serving !== undefined) this.#adapter = serving.adapter;
    });
    const load = await Load.open(this.#session, card.id, EMBEDDED_MODEL, onProgress);
    await this.#everybodyComes();
    onProgress(`${this.#watch.servingPeers} peers serve; the churn begins.`);
    const startedAt = performance.now();
    const enough = AbortSignal.timeout(durationMs);
    const answering = load.run(requesters, enough);
    for (;;) {
      await this.#rest();
      if (isOver(enough)) break;
      await this.#somebodyLeaves();
    }
    await answering;
    const seconds = (performance.now() - startedAt) / 1000;
    await Promise.all(this.#returns);
    await this.#settle();
    // What follows is the end of everything, and nobody's leave.
    stopWatching();
    this.#watch.end();
    return {
      adapter: this.#adapter,
      seconds,
      load: load.totals,
      leaves: this.#leaves,
      skipped: this.#skipped,
      joins: this.#joins,
      joinsThatServed: this.#joinsThatServed,
      watch: this.#watch,
      kinds: this.#kinds,
    };
  }

  /** The first of each kind before the others: it measures which kernels suit the adapter, and the others need not. */
  async #everybodyComes(): Promise<void> {
    const deadline = performance.now() + FIRST_COVERAGE_TIMEOUT_MS;
    const firsts = (['tab', 'node'] as const)
      .map((kind) => this.#peers.find((peer) => peer.kind === kind))
      .filter((peer) => peer !== undefined);
    await Promise.all(firsts.map((peer) => peer.start()));
    for (const first of firsts) {
      while (!(await first.isLending())) {
        if (performance.now() > deadline)
          throw new SkeinError('timeout', `${first.name} did not come to lend itself.`);
        await sleep(POLL_MS);
      }
    }
    this.#options.onProgress('The first of each kind lend themselves.');
    await Promise.all(this.#peers.filter((peer) => !firsts.includes(peer)).map((peer) => peer.start()));
    while (!this.#watch.isCovered || this.#watch.servingPeers <= this.#options.minServing) {
      if (performance.now() > deadline) {
        throw new SkeinError('timeout', `The peers did not come to serve every layer: ${this.#watch.words}.`);
      }
      await sleep(POLL_MS);
    }
  }

  /** The last leaves have their time to be made good, too, and the last to come back theirs to serve. */
  async #settle(): Promise<void> {
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    const isSettled = async () => {
      await this.#serving();
      return this.#watch.isCovered && this.#returned.size === 0;
    };
    while (!(await isSettled()) && performance.now() < deadline) await sleep(POLL_MS);
  }

  #rest(): Promise<void> {
    const { intervalMs, random } = this.#options;
    return sleep(intervalMs * (1 + random()));
  }

  /** One at a time, and only from a mesh that is whole: what a leave did can be told then. */
  async #somebodyLeaves(): Promise<void> {
    const { onProgress } = this.#options;
    const choice = await this.#choose();
    if (typeof choice === 'string') {
      count(this.#skipped, choice);
      return;
    }
    const { peer, id } = choice;
    this.#away.add(peer);
    const kind = this.#leaveKind(peer);
    const isCrash = kind === LEAVE_KINDS[peer.kind][1];
    count(this.#leaves, kind);
    onProgress(`${peer.name} is ${kind.split(' ')[1] ?? ''}; ${this.#watch.servingPeers} serve.`);
    this.#watch.leaving(id);
    await (isCrash ? peer.crash() : peer.leave());
    this.#returns.push(this.#comeBack(peer));
  }

  /**
   * Every other time somebody who cannot be replaced at once, where there is one. Of them a device of the kind that left
   * less often, tab or Node, for its number: tabs are slow to come back, and would be seldom there to be chosen.
   */
  async #choose(): Promise<ServingPeer | SkipReason> {
    const { random, minServing } = this.#options;
    const serving = await this.#serving();
    if (!this.#watch.isCovered) return 'layers are missing';
    if (this.#watch.servingPeers <= minServing) return 'too few serve';
    const { irreplaceable } = this.#watch;
    const missed = serving.filter(({ id }) => irreplaceable.includes(id));
    const pool = missed.length > 0 && random() < 0.5 ? missed : serving;
    const leastSeen = Math.min(...pool.map(({ peer }) => this.#leavesPerDevice(peer.kind)));
    const choice = pool.filter(({ peer }) => this.#leavesPerDevice(peer.kind) === leastSeen);
    return choice[Math.floor(random() * choice.length)] ?? 'nobody to choose';
  }

  #leavesPerDevice(kind: ChurnPeer['kind']): number {
    const leaves = LEAVE_KINDS[kind].reduce((sum, way) => sum + (this.#leaves.get(way) ?? 0), 0);
    return leaves / this.#peers.filter((peer) => peer.kind === kind).length;
  }

  /** Of the two ways for such a device the one that was seldom so far, so that a run has all of them. */
  #leaveKind({ kind }: ChurnPeer): LeaveKind {
    const [polite, crash] = LEAVE_KINDS[kind];
    const difference = (this.#leaves.get(crash) ?? 0) - (this.#leaves.get(polite) ?? 0);
    const isCrash = difference === 0 ? this.#options.random() < 0.5 : difference < 0;
    return isCrash ? crash : polite;
  }

  /** Those that serve now; who came back and is among them came to serve. */
  async #serving(): Promise<ServingPeer[]> {
    const serving: ServingPeer[] = [];
    for (const peer of this.#peers) {
      const id = this.#away.has(peer) ? null : await peer.peerId();
      if (id === null) continue;
      this.#kinds.set(id, peer.kind);
      if (!this.#watch.serves(id)) continue;
      serving.push({ peer, id });
      if (this.#returned.delete(peer)) this.#joinsThatServed += 1;
    }
    return serving;
  }

  async #comeBack(peer: ChurnPeer): Promise<void> {
    await peer.gone();
    await sleep(REST_MS * (1 + this.#options.random()));
    await peer.start();
    this.#joins += 1;
    this.#returned.add(peer);
    this.#away.delete(peer);
  }
}

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Asked again and again: it changes. */
function isOver({ aborted }: AbortSignal): boolean {
  return aborted;
}
