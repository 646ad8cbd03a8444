/**
 * A process that offers a device it does not have, takes work, and harms whoever relies on it.
 * `node src/cli/bootstrap.mjs hostile-peer <url> <kind>`, with an IPC channel to whoever started it.
 */
import { openNodeSession } from '../../src/mesh/node-session.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { ServedStage } from '../../src/mesh/served-stage.ts';
import { encodeFrame } from '../../src/protocol/frame-codec.ts';
import type { Frame } from '../../src/protocol/frames.ts';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import { MAX_STAGE_CACHE_TOKENS } from '../../src/protocol/limits.ts';
import type { ServerMessage } from '../../src/protocol/signaling.ts';
import { isHostileKind } from './hostile-kinds.ts';
import type { HostileEvent, HostileKind } from './hostile-kinds.ts';
import { JunkMachine } from './junk-machine.ts';
import { MeddlingTransport } from './meddling.ts';
import type { Meddling, Sending } from './meddling.ts';

const REPORT_MS = 1_000;
const FLOOD_MS = 20;
const FLOOD_FRAMES = 50;
const NAN_HALF = [0x00, 0x7e];
/** As a good desktop GPU has it. */
const CAPABILITY = {
  memoryBytes: 4e9,
  matvecBytesPerSecond: 2e11,
  matmulFlopsPerSecond: 1e13,
  adapter: 'none at all',
};

type Assign = Extract<ServerMessage, { type: 'assign' }>;

const [serverUrl = '', kind = ''] = process.argv.slice(2);
if (!isHostileKind(kind)) throw new Error(`"${kind}" is no kind of harm.`);
process.on('disconnect', () => process.exit(0));

const session = await openNodeSession(serverUrl, new AbortController().signal);
let served: ServedStage | null = null;
session.signaling.on('assign', (assign) => serve(session, kind, assign));
session.signaling.on('unassign', () => served?.dispose());
// Whoever hides how near it is gets little to do.
session.signaling.on('probe', ({ peers }) => void session.transport.probe(peers));
session.signaling.on('roll-call', ({ nonce }) => session.signaling.send({ type: 'present', nonce }));
session.signaling.send({ type: 'join', capability: CAPABILITY, cached: [] });
tell({ type: 'peer', peer: session.self });

function serve({ transport, signaling, models }: LiveSession, harm: HostileKind, assign: Assign): void {
  served?.dispose();
  const { model, layerStart, layerEnd } = assign;
  const card = models.find(({ id }) => id === model);
  if (card === undefined) return;
  const executor = new JunkMachine(card.hiddenSize, layerEnd === card.layerCount);
  served = new ServedStage({
    transport: new MeddlingTransport(transport, meddlingOf(harm)),
    executor,
    wireFormat: 'f16',
    model,
    layerStart,
    layerEnd,
  });
  signaling.send({ ...assign, type: 'serving' });
  setInterval(() => {
    const room = { freeCacheTokens: MAX_STAGE_CACHE_TOKENS, cacheTokens: MAX_STAGE_CACHE_TOKENS };
    const work = {
      steps: 10,
      rows: 10,
      busySeconds: 0.001,
      seconds: 1,
      activeSequences: executor.openRequests,
    };
    const stage = { model, layerStart, layerEnd, ...work, ...room };
    signaling.send({ type: 'report', stage, links: transport.linkStats() });
  }, REPORT_MS);
}

/** Of every kind nothing that looks like work gets through as it should be. */
function meddlingOf(harm: HostileKind): Meddling {
  const spoiled = (spoil: (frame: Frame, sending: Sending) => readonly Sending[]): Meddling => ({
    incoming: watch,
    outgoing: (frame, sending) => ('sequences' in frame ? spoil(frame, sending) : [sending]),
  });
  switch (harm) {
    case 'silent':
      return { incoming: (frame) => watch(frame) && (frame.type === 'open' || frame.type === 'begin') };
    case 'idle':
      return spoiled(() => []);
    case 'busy-for-ever': {
      let steps = 0;
      return {
        incoming: watch,
        outgoing: (frame, sending) => {
          if ('sequences' in frame) return [];
          if (frame.type !== 'state') return [sending];
          const lie = { ...frame, receivedUpTo: frame.receivedUpTo + 1, sentUpTo: 0, steps: (steps += 9) };
          return [{ ...sending, bytes: encodeFrame(lie, 'f16') }];
        },
      };
    }
    case 'garbage':
      return spoiled((_frame, { to, bytes }) => [{ to, bytes: bytes.slice(0, -3) }]);
    case 'wrong-size':
      return spoiled((frame, { to, bytes }) => {
        if (frame.type !== 'activations') return [{ to, bytes: bytes.slice(0, -4) }];
        const hiddenSize = frame.hiddenSize + 1;
        const sequences = frame.sequences.map((part) => {
          return { ...part, values: new Float32Array(part.rows * hiddenSize) };
        });
        return [{ to, bytes: encodeFrame({ ...frame, hiddenSize, sequences }, 'f16') }];
      });
    case 'not-a-number':
      return spoiled((_frame, { to, bytes }) => {
        const poisoned = bytes.slice();
        for (let at = poisoned.length - 8; at < poisoned.length; at += 2) poisoned.set(NAN_HALF, at);
        return [{ to, bytes: poisoned }];
      });
    case 'flood':
      flood(session);
      return spoiled(() => []);
  }
}

/** Work for requests that nobody knows, garbage, and a signal now and then, to whoever is a member. */
function flood({ self, transport, signaling }: LiveSession): void {
  let members: readonly PeerId[] = [];
  let sent = 0;
  signaling.on(
    'mesh',
    (mesh) => (members = mesh.members.map(({ peer }) => peer).filter((peer) => peer !== self)),
  );
  setInterval(() => {
    for (const to of members) {
      for (let count = 0; count < FLOOD_FRAMES; count++) {
        sent += 1;
        const requestId = sent.toString(16).padStart(16, 'e') as RequestId;
        const part = { requestId, epoch: 0, position: 0, tokenIds: Uint32Array.of(1) };
        const frame = encodeFrame({ type: 'tokens', sequences: [part] }, 'f16');
        const bytes = count % 5 === 0 ? new Uint8Array(1000).fill(0xff) : frame;
        transport.send(to, bytes).catch(() => tell({ type: 'cut-off' }));
      }
    }
    if (members[0] !== undefined)
      signaling.send({ type: 'signal', to: members[0], data: { kind: 'ask', attempt: 'x' } });
  }, FLOOD_MS);
}

function watch(frame: Frame): boolean {
  if (frame.type === 'open') tell({ type: 'took', requestId: frame.request.route.requestId });
  return true;
}

function tell(event: HostileEvent): void {
  if (process.connected) process.send?.(event);
}
