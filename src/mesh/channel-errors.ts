import { SkeinError } from '../protocol/errors.ts';
import {
  FRAME_ASSEMBLY_TIMEOUT_MS,
  LINK_SILENCE_MS,
  MAX_MESSAGE_BURST,
  MAX_MESSAGES_PER_SECOND,
  SEND_STALL_TIMEOUT_MS,
} from '../protocol/limits.ts';

/** Why a channel ends; whoever knows the peer adds its name. */
export function silent(): SkeinError {
  return new SkeinError(
    'peer-lost',
    `A peer said nothing for ${LINK_SILENCE_MS / 1000} s. Ask for a new route.`,
  );
}

export function notRead(): SkeinError {
  return new SkeinError(
    'timeout',
    `A peer took nothing of what it is sent for ${SEND_STALL_TIMEOUT_MS / 1000} s. Ask for a new route.`,
  );
}

export function incomplete(): SkeinError {
  return new SkeinError(
    'bad-frame',
    `A frame did not go on for ${FRAME_ASSEMBLY_TIMEOUT_MS / 1000} s. Ask for a new route.`,
  );
}

export function tooManyMessages(): SkeinError {
  return new SkeinError(
    'bad-frame',
    `A peer sent ${MAX_MESSAGE_BURST} messages, and more than ${MAX_MESSAGES_PER_SECOND} a second. Ask for a new route.`,
  );
}

export function saidGoodbye(): SkeinError {
  return new SkeinError('peer-lost', 'The peer said goodbye. Ask for a new route.');
}
