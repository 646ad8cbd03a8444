import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import type { ClientMessage, ServerMessage } from '../src/protocol/signaling.ts';
import { MAX_SIGNAL_CHARACTERS } from './limits.ts';

type Signal = Extract<ClientMessage, { type: 'signal' }>;

interface Delivery {
  readonly to: PeerId;
  readonly message: ServerMessage;
}

/**
 * What becomes of a signal: it goes unread to the peer that it names, stamped with who sent it, or back to its sender as
 * an `error`: `bad-message` for one that is too long, `peer-lost` for one to somebody who is not here.
 */
export function relayed(from: PeerId, { to, data }: Signal, isGreeted: (peer: PeerId) => boolean): Delivery {
  const characters = JSON.stringify(data ?? null).length;
  if (characters > MAX_SIGNAL_CHARACTERS) {
    const words = `A signal of ${characters} characters is over the limit of ${MAX_SIGNAL_CHARACTERS}.`;
    return refusal(from, new SkeinError('bad-message', words));
  }
  if (!isGreeted(to)) {
    return refusal(from, new SkeinError('peer-lost', `Peer ${to} is not connected.`, { data: { peer: to } }));
  }
  return { to, message: { type: 'signal', from, data } };
}

function refusal(from: PeerId, error: SkeinError): Delivery {
  return { to: from, message: { type: 'error', error: error.toShape() } };
}
