import wrtc from '@roamhq/wrtc';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PeerMesh } from '../../src/mesh/peer-mesh.ts';
import { ServedStage } from '../../src/mesh/served-stage.ts';
import { routeTokens } from '../fixtures/route-tokens.ts';
import { peekFrameType } from '../../src/protocol/frame-codec.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import {
  LINK_WINDOW_BYTES,
  MAX_FRAME_BYTES,
  MAX_LINK_QUEUE_BYTES,
  MAX_STRIKES,
} from '../../src/protocol/limits.ts';
import { GREEDY, NO_HISTORY } from '../../src/protocol/sampling.ts';
import { AddingMachine, expectedTokens } from '../unit/mesh/adding-machine.ts';
import { chainOf, MODEL, peerId, requestId } from '../unit/mesh/local-mesh.ts';
import { InMemoryRelay } from './signal-relay.ts';
import { EPOCH_KEYS } from '../fixtures/epoch-keys.ts';

interface Received {
  readonly from: PeerId;
  readonly frame: Uint8Array<ArrayBuffer>;
}

/** Frames as they come, for whoever waits for the next. */
class Inbox {
  readonly #frames: Received[] = [];
  #wake: () => void = () => undefined;

  constructor(mesh: PeerMesh) {
    mesh.onFrame((from, frame) => {
      this.#frames.push({ from, frame });
      this.#wake();
    });
  }

  async next(): Promise<Received> {
    for (;;) {
      const first = this.#frames.shift();
      if (first) return first;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

const EIGHT_MIB = 8 * 1024 * 1024;
const [SMALL, LARGE, THIRD] = [peerId(1), peerId(2), peerId(3)];

let relay: InMemoryRelay;
let meshes: PeerMesh[];

function join(self: PeerId): PeerMesh {
  const mesh = new PeerMesh({ self, signaling: relay.client(self), iceServers: [], wrtc });
  meshes.push(mesh);
  return mesh;
}

function pattern(sizeBytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(sizeBytes / 4);
  let state = seed;
  for (let index = 0; index < words.length; index += 1)
    words[index] = state = (state * 1664525 + 1013904223) >>> 0;
  return new Uint8Array(words.buffer);
}

const lossOf = (mesh: PeerMesh) => new Promise<PeerId>((resolve) => mesh.onPeerLost(resolve));

beforeEach(() => {
  relay = new InMemoryRelay();
  meshes = [];
});

afterEach(() => {
  for (const mesh of meshes) mesh.dispose();
});

describe('a mesh of real peer connections', () => {
  it.each([
    ['smaller', SMALL, LARGE],
    ['larger', LARGE, SMALL],
  ])(
    'links two peers when the %s one sends, and the answer takes the same link',
    async (_which, one, other) => {
      const [sender, receiver] = [join(one), join(other)];
      const [senderInbox, receiverInbox] = [new Inbox(sender), new Inbox(receiver)];
      await sender.send(other, Uint8Array.of(1, 2, 3));
      expect(await receiverInbox.next()).toEqual({ from: one, frame: Uint8Array.of(1, 2, 3) });
      await receiver.send(one, Uint8Array.of(4));
      expect(await senderInbox.next()).toEqual({ from: other, frame: Uint8Array.of(4) });
      const isOffer = ({ data }: { data: unknown }) => JSON.stringify(data).includes('"type":"offer"');
      expect(relay.log.filter(isOffer)).toHaveLength(1);
    },
  );

  it('makes one link when both send at once', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const [smallInbox, largeInbox] = [new Inbox(small), new Inbox(large)];
    await Promise.all([small.send(LARGE, Uint8Array.of(1)), large.send(SMALL, Uint8Array.of(2))]);
    expect((await largeInbox.next()).frame).toEqual(Uint8Array.of(1));
    expect((await smallInbox.next()).frame).toEqual(Uint8Array.of(2));
  });

  it('carries 8 MiB frames whole, in order, in both directions at once', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const [smallInbox, largeInbox] = [new Inbox(small), new Inbox(large)];
    const frames = [pattern(EIGHT_MIB, 1), pattern(64, 2), pattern(EIGHT_MIB, 3), pattern(64, 4)];
    const send = async (mesh: PeerMesh, to: PeerId) => {
      for (const frame of frames) await mesh.send(to, frame);
    };
    const sending = Promise.all([send(small, LARGE), send(large, SMALL)]);
    for (const frame of frames) {
      expect(Buffer.compare((await largeInbox.next()).frame, frame)).toBe(0);
      expect(Buffer.compare((await smallInbox.next()).frame, frame)).toBe(0);
    }
    await sending;
  });

  it('carries the largest frame, and refuses more than the queue of a link takes', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const inbox = new Inbox(large);
    const largest = pattern(MAX_FRAME_BYTES, 9);
    const sends = [small.send(LARGE, largest), small.send(LARGE, largest)];
    expect(2 * MAX_FRAME_BYTES).toBe(MAX_LINK_QUEUE_BYTES);
    await expect(small.send(LARGE, Uint8Array.of(1))).rejects.toMatchObject({ code: 'busy' });
    for (const sent of sends) {
      expect(Buffer.compare((await inbox.next()).frame, largest)).toBe(0);
      await sent;
    }
    await small.send(LARGE, Uint8Array.of(1));
    expect((await inbox.next()).frame).toEqual(Uint8Array.of(1));
  });

  it('reports a lost link on the other side and dials again on the next send', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const largeInbox = new Inbox(large);
    await small.send(LARGE, Uint8Array.of(1));
    await largeInbox.next();
    const lost = lossOf(large);
    small.dispose();
    expect(await lost).toBe(SMALL);
    const again = join(SMALL);
    const againInbox = new Inbox(again);
    await large.send(SMALL, Uint8Array.of(2));
    expect((await againInbox.next()).frame).toEqual(Uint8Array.of(2));
    await again.send(LARGE, Uint8Array.of(3));
    expect(await largeInbox.next()).toEqual({ from: SMALL, frame: Uint8Array.of(3) });
  });

  it('says goodbye before it closes: nobody has to wait for what WebRTC notices', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const inbox = new Inbox(large);
    await small.send(LARGE, Uint8Array.of(1));
    await inbox.next();
    const reason = new Promise<SkeinError>((resolve) => large.onPeerLost((_peer, error) => resolve(error)));
    small.dispose();
    const { code, data, message } = await reason;
    expect({ code, data }).toEqual({ code: 'peer-lost', data: { peer: SMALL } });
    expect(message).toContain('goodbye');
  });

  it('holds a sender back whose frames wait at the other end', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const waiting: (() => void)[] = [];
    large.onFrame(() => new Promise<void>((resolve) => waiting.push(resolve)));
    const frame = pattern(LINK_WINDOW_BYTES, 5);
    const sends = [small.send(LARGE, frame), small.send(LARGE, frame)];
    await sends[0];
    await vi.waitFor(() => expect(waiting).toHaveLength(1));
    await large.probe([SMALL]);
    expect(waiting).toHaveLength(1);
    waiting[0]?.();
    await sends[1];
    await vi.waitFor(() => expect(waiting).toHaveLength(2));
  });

  it('cuts off a peer whose frames are refused again and again, on both ends', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const inbox = new Inbox(large);
    await small.send(LARGE, Uint8Array.of(1));
    await inbox.next();
    const lost = lossOf(small);
    const banned = new Promise((resolve) => large.onMisbehaved(resolve));
    for (let strike = 0; strike <= MAX_STRIKES; strike += 1) {
      large.reject(SMALL, new SkeinError('bad-frame', 'A frame is wrong.'));
    }
    expect(await banned).toBe(SMALL);
    expect(await lost).toBe(LARGE);
    await expect(small.send(LARGE, Uint8Array.of(1))).rejects.toMatchObject({
      code: 'peer-lost',
      message: expect.stringContaining('takes no link') as string,
    });
  });

  it('replaces a link whose other end forgot it, whoever that is', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const inbox = new Inbox(large);
    await small.send(LARGE, Uint8Array.of(1));
    await inbox.next();
    const lost = lossOf(small);
    // The tab of the larger peer was reloaded in a way that its old connection does not notice.
    const reloaded = join(LARGE);
    const reloadedInbox = new Inbox(reloaded);
    await reloaded.send(SMALL, Uint8Array.of(2));
    expect(await lost).toBe(LARGE);
    await small.send(LARGE, Uint8Array.of(3));
    expect((await reloadedInbox.next()).frame).toEqual(Uint8Array.of(3));
  });

  it('knows the round trip of links that are used, and measures others when it is asked to', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    join(THIRD);
    const inbox = new Inbox(large);
    await small.send(LARGE, Uint8Array.of(1));
    await inbox.next();
    await vi.waitFor(() => expect(small.linkStats()).toHaveLength(1));
    expect(large.linkStats()).toEqual([]);
    await large.probe([SMALL, THIRD, LARGE, peerId(8)]);
    const stats = large.linkStats();
    expect(stats.map(({ peer }) => peer).sort()).toEqual([SMALL, THIRD]);
    for (const { rttSeconds, bytesPerSecond } of [...stats, ...small.linkStats()]) {
      expect(rttSeconds).toBeGreaterThan(0);
      expect(rttSeconds).toBeLessThan(5);
      expect(bytesPerSecond).toBeNull();
    }
  });

  it('fails at once when the server knows no such peer', async () => {
    await expect(join(SMALL).send(THIRD, Uint8Array.of(1))).rejects.toMatchObject({
      code: 'peer-lost',
      data: { peer: THIRD },
    });
  });

  it('ignores signals that no peer would send', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const inbox = new Inbox(small);
    await small.send(LARGE, Uint8Array.of(1));
    relay.forge(LARGE, SMALL, { kind: 'rtc', attempt: 'not an attempt', signal: {} });
    relay.forge(LARGE, SMALL, 'x'.repeat(50_000));
    await large.send(SMALL, Uint8Array.of(2));
    expect((await inbox.next()).frame).toEqual(Uint8Array.of(2));
    expect(small.rejectedSignals).toBe(2);
  });

  it('survives descriptions that WebRTC cannot parse', async () => {
    const [small, large] = [join(SMALL), join(LARGE)];
    const attempt = '00000000000000aa';
    const sdp = 'v=0 and nothing that makes sense';
    relay.forge(SMALL, LARGE, { kind: 'rtc', attempt, signal: { type: 'offer', sdp } });
    const candidate = { candidate: 'candidate:nonsense', sdpMLineIndex: 3, sdpMid: 'x' };
    relay.forge(SMALL, LARGE, { kind: 'rtc', attempt, signal: { type: 'candidate', candidate } });
    const inbox = new Inbox(large);
    await small.send(LARGE, Uint8Array.of(7));
    expect((await inbox.next()).frame).toEqual(Uint8Array.of(7));
  });
});

describe('a route over real peer connections', () => {
  const layerCount = 3;
  const hops = [SMALL, LARGE, THIRD].map((peer, index) => ({
    peer,
    layerStart: index,
    layerEnd: index + 1,
  }));

  /** Three stages, and a requester that asks them. */
  function serve() {
    const machines = hops.map(({ layerStart, layerEnd }) => {
      return new AddingMachine({ layerStart, layerEnd, layerCount });
    });
    const stages = hops.map(({ peer, layerStart, layerEnd }, index) => {
      const executor = machines[index];
      if (!executor) throw new Error(`there is no machine ${index}`);
      const wireFormat = 'f16';
      return new ServedStage({
        transport: join(peer),
        executor,
        model: MODEL,
        layerStart,
        layerEnd,
        wireFormat,
      });
    });
    const requester = join(peerId(9));
    const ask = async (id: number, prompt: readonly number[], maxTokens: number) => {
      const blockHashes = chainOf(prompt);
      let cachedTokens: number | null = null;
      const tokens: number[] = [];
      const route = routeTokens({
        transport: requester,
        request: {
          route: { requestId: requestId(id), epoch: 0, model: MODEL, hops },
          requester: requester.self,
          promptTokens: prompt.length,
          timeLimitMs: 60_000,
          maxTokens,
          stopTokenIds: [],
          sampling: GREEDY,
          history: NO_HISTORY,
          constraint: null,
          keepsCache: true,
          epochKey: EPOCH_KEYS.at(0),
        },
        promptTokenIds: Uint32Array.from(prompt),
        blockHashes,
        onOpened: (agreed) => (cachedTokens = agreed),
        signal: new AbortController().signal,
      });
      for await (const { tokenId } of route) tokens.push(tokenId);
      return { tokens, cachedTokens };
    };
    const dispose = () => {
      for (const stage of stages) stage.dispose();
    };
    return { machines, requester, ask, dispose };
  }

  it('answers over three stages as the undivided model does', async () => {
    const { ask, dispose } = serve();
    const prompt = [3, 1, 4, 1, 5, 9, 2, 6];
    expect((await ask(1, prompt, 20)).tokens).toEqual(expectedTokens(prompt, layerCount, 20));
    dispose();
  });

  it('carries of a second prompt only what the first did not share', async () => {
    const { machines, requester, ask, dispose } = serve();
    const promptBytes: number[] = [];
    const send = requester.send.bind(requester);
    requester.send = (to, frame) => {
      if (peekFrameType(frame) === 'tokens') promptBytes.push(frame.length);
      return send(to, frame);
    };
    const shared = Array.from({ length: 256 }, (_, index) => (index * 37) % 1000);
    const prompts = [
      [...shared, 5, 6, 7],
      [...shared, 900, 901],
    ];
    const rows: (number[] | undefined)[] = [];
    const cached: (number | null)[] = [];
    for (const [index, prompt] of prompts.entries()) {
      const before = machines.map(({ rowsComputed }) => rowsComputed);
      const { tokens, cachedTokens } = await ask(index + 1, prompt, 20);
      expect(tokens).toEqual(expectedTokens(prompt, layerCount, 20));
      cached.push(cachedTokens);
      rows.push(machines.map(({ rowsComputed }, at) => rowsComputed - (before[at] ?? 0)));
    }
    expect(cached).toEqual([0, 256]);
    expect(rows).toEqual([new Array(3).fill(259 + 19), new Array(3).fill(2 + 19)]);
    expect(promptBytes).toEqual([24 + 259 * 4, 24 + 2 * 4]);
    dispose();
  });
});
