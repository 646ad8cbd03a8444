import type { Frame } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { OpenRequest } from '../../../src/protocol/stage.ts';
import type { FrameTransport } from '../../../src/protocol/transport.ts';
import { EPOCH_KEYS } from '../../fixtures/epoch-keys.ts';
import { HIDDEN_SIZE } from './adding-machine.ts';
import { LocalMesh, peerId, Puppet, requestId } from './local-mesh.ts';
import type { MeshOptions } from './local-mesh.ts';

export const PROMPT = [5, 900, 17];

export function tokensFrame(position: number, tokenIds: readonly number[], epoch = 0): Frame {
  const sequence = { requestId: requestId(1), epoch, position, tokenIds: Uint32Array.from(tokenIds) };
  return { type: 'tokens', sequences: [sequence] };
}

export function rowsFrame(position: number, rows: number, hiddenSize = HIDDEN_SIZE): Frame {
  const values = new Float32Array(rows * hiddenSize);
  const sequence = { requestId: requestId(1), epoch: 0, position, rows, values };
  return { type: 'activations', hiddenSize, sequences: [sequence] };
}

/** So much is cached, and nothing can be sent again. */
export const offerOf = (cachedTokens: number) => ({ cachedTokens, journalFrom: cachedTokens });

export function beginFrame(starts: readonly number[], epoch = 0): Frame {
  return { type: 'begin', requestId: requestId(1), epoch, starts };
}

export const closeFrame = {
  type: 'close',
  requestId: requestId(1),
  epoch: 0,
  blockHashes: [],
  isMoved: false,
} as const satisfies Frame;

/** Three stages of which only one is real; the others, the requester and a stranger are puppets. */
export function around(stageIndex: number, options: MeshOptions = {}) {
  const mesh = new LocalMesh(3, options);
  mesh.stages.forEach(({ served }, index) => {
    if (index !== stageIndex) served.dispose();
  });
  const { served, machine, hop } = mesh.stage(stageIndex);
  const puppets = new Map<PeerId, Puppet>();
  const puppet = (peer: PeerId): Puppet => {
    const known = puppets.get(peer);
    if (known) return known;
    const made = new Puppet(mesh.hub.transport(peer));
    puppets.set(peer, made);
    return made;
  };
  const peers = {
    requester: mesh.requester,
    first: peerId(1),
    middle: peerId(2),
    last: peerId(3),
    stranger: peerId(9),
  };
  for (const peer of Object.values(peers)) if (peer !== hop.peer) puppet(peer);
  const say = (from: PeerId, frame: Frame) => puppet(from).say(hop.peer, frame);
  const request = mesh.request(PROMPT.length, 10);
  /** @param cachedTokens of every hop before this one. */
  const open = (from: PeerId, changes: Partial<OpenRequest> = {}, cachedTokens = 0) => {
    const { epoch } = changes.route ?? request.route;
    return say(from, {
      type: 'open',
      request: { ...request, ...changes, epochKey: changes.epochKey ?? EPOCH_KEYS.at(epoch) },
      offers: mesh.stages.slice(0, stageIndex).map(() => offerOf(cachedTokens)),
    });
  };
  const begin = (from: PeerId, starts: readonly number[]) => say(from, beginFrame(starts));
  return { mesh, served, machine, hop, peers, puppet, say, open, begin, request };
}

/** Holds back what is sent to one peer, as a link does that is being dialled or is slow. */
export function gatedTransport() {
  let closedTo: PeerId | null = null;
  let waiting: (() => void)[] = [];
  return {
    close: (to: PeerId) => (closedTo = to),
    open: () => {
      closedTo = null;
      for (const release of waiting) release();
      waiting = [];
    },
    wrap: (transport: FrameTransport): FrameTransport => ({
      self: transport.self,
      async send(to, frame) {
        if (to === closedTo) await new Promise<void>((resolve) => waiting.push(resolve));
        await transport.send(to, frame);
      },
      onFrame: (listener) => transport.onFrame(listener),
      onPeerLost: (listener) => transport.onPeerLost(listener),
      reject: (from, reason) => transport.reject(from, reason),
    }),
  };
}
