import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from '@playwright/test';
import wrtc from '@roamhq/wrtc';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { ChurnPeer } from '../churn/churn-peer.ts';
import { Load } from '../churn/load.ts';
import type { LoadTotals } from '../churn/load.ts';
import { NodePeer } from '../churn/node-peer.ts';
import { TabPeer } from '../churn/tab-peer.ts';
import { copyTunings } from '../rig/copy-tunings.ts';
import { EMBEDDED_MODEL, startMesh } from '../rig/local-server.ts';
import { CHROMIUM_FLAGS } from '../rig/rig.ts';
import { startCoturn } from './coturn.ts';
import { linkEnds, pageLinkEnds, rememberConnections, rememberPageConnections } from './link-stats.ts';
import type { LinkEnds } from './link-stats.ts';
import type { RelayUsage } from './relay-usage.ts';

const STAGES = 3;
/** Measuring, loading and compiling on a software GPU, with others beside it. */
const COVERAGE_TIMEOUT_MS = 120_000;
const ANSWERS_TIMEOUT_MS = 100_000;
const POLL_MS = 50;
/** Peers that nobody asks for anything leave at once. */
const LEAVE_TIMEOUT_MS = 10_000;

export interface TurnTestOptions {
  readonly turnserver: string;
  readonly chromiumPath: string;
  /** The Vulkan driver of Node peers, where it is not the machine's own. */
  readonly vulkanDriver: string | null;
  /** Golden questions to be answered. */
  readonly requests: number;
  readonly onProgress: (line: string) => void;
}

export interface TurnTestResult {
  readonly adapter: string;
  readonly load: LoadTotals;
  /** Those who compute, and who asks. */
  readonly peers: readonly PeerId[];
  readonly requesterLinks: readonly LinkEnds[];
  readonly tabLinks: readonly LinkEnds[];
  readonly usage: RelayUsage;
}

/** Two Node peers, a tab and a requester who reach each other over a real TURN server only. */
export async function runTurnTest(options: TurnTestOptions): Promise<TurnTestResult> {
  const { turnserver, chromiumPath, vulkanDriver, onProgress } = options;
  const cacheFolder = await mkdtemp(join(tmpdir(), 'skein-turn-'));
  const coturn = await startCoturn(turnserver);
  const server = await startMesh(STAGES, 0, { turn: coturn.turn, isRelayOnly: true });
  const browser = await chromium.launch({ executablePath: chromiumPath, args: [...CHROMIUM_FLAGS] });
  const remembered = rememberConnections(wrtc);
  const session = await openNodeSession(server.url, new AbortController().signal, { wrtc: remembered.wrtc });
  const nodes = Array.from(
    { length: STAGES - 1 },
    (_, index) =>
      new NodePeer(`node ${index + 1}`, {
        serverUrl: server.url,
        cacheFolder,
        vulkanDriver,
        onWords: onProgress,
      }),
  );
  const interrupted = () => {
    void Promise.all([...nodes.map((node) => node.crash()), coturn.stop()]).then(() => process.exit(1));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    await copyTunings(cacheFolder);
    const context = await browser.newContext();
    await rememberPageConnections(context);
    const peers: ChurnPeer[] = [new TabPeer('tab', server.url, context), ...nodes];
    for (const peer of peers) await peer.start();
    const { adapter, serving } = await everyLayerServed(session);
    onProgress(`${serving.length} peers serve, and reach each other over ${coturn.turn.urls.join()} only.`);
    const load = await ask(session, options);
    const [page] = context.pages();
    const tabLinks = page ? await pageLinkEnds(page) : [];
    const requesterLinks = await linkEnds(remembered.connections);
    // A relay says what it carried when a link ends, and is not told of the end by who is killed.
    session.dispose();
    await context.close();
    for (const node of nodes) await node.leave();
    await Promise.race([Promise.all(nodes.map((node) => node.gone())), sleep(LEAVE_TIMEOUT_MS)]);
    return {
      adapter,
      load,
      peers: [...serving, session.self],
      requesterLinks,
      tabLinks,
      usage: coturn.usage,
    };
  } finally {
    await Promise.all(nodes.map((node) => node.crash()));
    await browser.close();
    session.dispose();
    await server.close();
    await coturn.stop();
    await rm(cacheFolder, { recursive: true, force: true });
  }
}

async function everyLayerServed(
  session: LiveSession,
): Promise<{ readonly adapter: string; readonly serving: readonly PeerId[] }> {
  let members: readonly { readonly peer: PeerId; readonly adapter: string }[] = [];
  const stop = session.signaling.on('mesh', (mesh) => {
    const isWhole = mesh.covered.length > 0 && mesh.members.every(({ state }) => state === 'serving');
    members = isWhole && mesh.members.length === STAGES ? mesh.members : [];
  });
  const deadline = AbortSignal.timeout(COVERAGE_TIMEOUT_MS);
  while (members.length === 0 && !deadline.aborted) await sleep(POLL_MS);
  stop();
  const [first] = members;
  if (first === undefined) {
    throw new SkeinError('timeout', `The model was not served after ${COVERAGE_TIMEOUT_MS / 1000} s.`);
  }
  return { adapter: first.adapter, serving: members.map(({ peer }) => peer) };
}

async function ask(session: LiveSession, { requests, onProgress }: TurnTestOptions): Promise<LoadTotals> {
  const [card] = session.models;
  if (card === undefined) throw new SkeinError('model-missing', 'The server offers no model.');
  const load = await Load.open(session, card.id, EMBEDDED_MODEL, onProgress);
  const enough = new AbortController();
  const answering = load.run(2, enough.signal);
  const deadline = AbortSignal.timeout(ANSWERS_TIMEOUT_MS);
  while (load.totals.requests < requests && !deadline.aborted) await sleep(POLL_MS);
  enough.abort();
  await answering;
  return load.totals;
}
