import { encodeFrame } from '../../src/protocol/frame-codec.ts';
import type { Frame, FrameOf } from '../../src/protocol/frames.ts';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import type { LiarParts } from './hostile-mesh.ts';
import type { Meddling, Sending } from './meddling.ts';

/** Half-precision not-a-number, little-endian. */
const NAN_HALF = [0x00, 0x7e];
const FLOOD_FRAMES = 100;

type Lie = (liar: LiarParts) => Meddling;

const carriesWork = ({ type }: Frame) => type === 'activations' || type === 'tokens' || type === 'sampled';

/** Whatever is made of frames of work, the rest goes out as it is. */
function instead(change: (frame: Frame, sending: Sending) => readonly Sending[]): Lie {
  return () => ({ outgoing: (frame, sending) => (carriesWork(frame) ? change(frame, sending) : [sending]) });
}

function withActivations(change: (frame: FrameOf<'activations'>) => Frame): Lie {
  return instead((frame, sending) => {
    if (frame.type !== 'activations') return [sending];
    return [{ ...sending, bytes: encodeFrame(change(frame), 'f16') }];
  });
}

/** What a hop may do that takes work and does not do it, or does it wrong; the names say what it does. */
export const LIES = {
  'takes a request and says nothing ever after': () => ({
    incoming: ({ type }) => type === 'open' || type === 'begin',
  }),
  'takes work, answers questions, and computes nothing': ({ machine }) => {
    machine.tamper = () => [];
    return {};
  },
  'computes, says so, and sends nothing on': instead(() => []),
  'says that it computes on and on': () => {
    let steps = 0;
    return {
      outgoing: (frame, sending) => {
        if (carriesWork(frame)) return [];
        if (frame.type !== 'state' || frame.typicalStepMs < 0) return [sending];
        steps += 7;
        const lie = { ...frame, receivedUpTo: frame.receivedUpTo + 1, sentUpTo: 0, steps };
        return [{ ...sending, bytes: encodeFrame(lie, 'f16') }];
      },
    };
  },
  'sends nothing on, and forges the answers of the hops behind it': ({ transport }) => {
    let ownHop = 0;
    return {
      incoming: (frame) => {
        if (frame.type === 'open')
          ownHop = frame.request.route.hops.findIndex(({ peer }) => peer === transport.self);
        return true;
      },
      outgoing: (frame, sending) => {
        if (carriesWork(frame)) return [];
        if (frame.type !== 'state' || frame.hop <= ownHop) return [sending];
        const lie = { ...frame, receivedUpTo: 40, sentUpTo: 0, steps: 1, typicalStepMs: 1 };
        return [{ ...sending, bytes: encodeFrame(lie, 'f16') }];
      },
    };
  },
  'sends rows of a width of its own': withActivations((frame) => {
    const hiddenSize = frame.hiddenSize + 1;
    const sequences = frame.sequences.map((part) => ({
      ...part,
      values: new Float32Array(part.rows * hiddenSize),
    }));
    return { ...frame, hiddenSize, sequences };
  }),
  'leaves rows out': withActivations((frame) => {
    const sequences = frame.sequences.map((part) => ({ ...part, position: part.position + 1 }));
    return { ...frame, sequences };
  }),
  'sends values that are none': instead((_frame, { to, bytes }) => {
    const poisoned = bytes.slice();
    poisoned.set(NAN_HALF, poisoned.length - NAN_HALF.length);
    return [{ to, bytes: poisoned }];
  }),
  'sends bytes that are no frame': instead((_frame, { to, bytes }) => [
    { to, bytes: bytes.map((byte) => byte ^ 0xa5) },
  ]),
  'cuts its frames short': instead((_frame, { to, bytes }) => [{ to, bytes: bytes.slice(0, -1) }]),
  'accuses the others in turn': ({ others, transport }) => {
    let next = 0;
    return {
      outgoing: (frame, sending) => {
        if (!carriesWork(frame) || !('sequences' in frame)) return [sending];
        const [part] = frame.sequences;
        const peer = others[next++ % others.length] ?? transport.self;
        if (part === undefined) return [];
        const { requestId, epoch } = part;
        const error = { code: 'peer-lost', message: 'It is gone.', data: { peer } } as const;
        const to = others.at(-3) ?? transport.self;
        return [{ to, bytes: encodeFrame({ type: 'failed', requestId, epoch, error }, 'f16') }];
      },
    };
  },
  'blames a hop beside it': ({ transport }) => {
    const beside = new Map<RequestId, PeerId>();
    let requester = transport.self;
    return {
      incoming: (frame) => {
        if (frame.type !== 'open') return true;
        const { hops, requestId } = frame.request.route;
        const own = hops.findIndex(({ peer }) => peer === transport.self);
        const neighbour = hops[own === 0 ? 1 : own - 1]?.peer;
        if (neighbour !== undefined) beside.set(requestId, neighbour);
        requester = frame.request.requester;
        return true;
      },
      outgoing: (frame, sending) => {
        if (!('sequences' in frame)) return [sending];
        return frame.sequences.map(({ requestId, epoch }): Sending => {
          const data = { peer: beside.get(requestId) ?? transport.self };
          const error = { code: 'bad-frame', message: 'It sent garbage.', data } as const;
          return { to: requester, bytes: encodeFrame({ type: 'failed', requestId, epoch, error }, 'f16') };
        });
      },
    };
  },
  'offers what it does not have': () => ({
    outgoing: (frame, sending) => {
      if (frame.type !== 'open' && frame.type !== 'opened') return [sending];
      const own = frame.offers.length - 1;
      const offers = frame.offers.map((offer, hop) =>
        hop === own ? { cachedTokens: 16, journalFrom: 0 } : offer,
      );
      return [{ ...sending, bytes: encodeFrame({ ...frame, offers }, 'f16') }];
    },
  }),
} as const satisfies Record<string, Lie>;

/** What a hop may do beside its work, which it does; nobody's answer may suffer from it. */
export const NUISANCES = {
  'sends everything twice': () => ({ outgoing: (_frame, sending) => [sending, sending] }),
  'sends what it sent before again and again': () => {
    const before: Sending[] = [];
    return {
      outgoing: (_frame, sending) => {
        before.push({ ...sending, bytes: sending.bytes.slice() });
        return [...before.slice(-8), sending];
      },
    };
  },
  'floods everybody with work for requests that nobody knows': ({ others }) => {
    let next = 0;
    return {
      outgoing: (_frame, sending) => [
        sending,
        ...Array.from({ length: FLOOD_FRAMES }, (_, index): Sending => {
          const requestId = (next++).toString(16).padStart(16, 'e') as RequestId;
          const part = { requestId, epoch: 0, position: 0, tokenIds: Uint32Array.of(1) };
          const to = others[index % others.length] ?? sending.to;
          return { to, bytes: encodeFrame({ type: 'tokens', sequences: [part] }, 'f16') };
        }),
      ],
    };
  },
  'floods everybody with bytes that are no frame': ({ others }) => ({
    outgoing: (_frame, sending) => [
      sending,
      ...others.map((to): Sending => ({ to, bytes: new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff]) })),
    ],
  }),
} as const satisfies Record<string, Lie>;
