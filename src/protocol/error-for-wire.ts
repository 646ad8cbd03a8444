import * as v from 'valibot';
import type { ErrorShape } from './errors.ts';
import { MAX_ERROR_MESSAGE_CHARACTERS } from './frame-layout.ts';
import { errorShapeSchema } from './signaling.ts';

/**
 * A failure must always be tellable: what others would not take is cut from the message, or left out of the data.
 * @param maxBytes of its JSON.
 */
export function errorForWire({ code, message, data }: ErrorShape, maxBytes: number): ErrorShape {
  const brief = { code, message: message.slice(0, MAX_ERROR_MESSAGE_CHARACTERS) };
  const full = data ? { ...brief, data } : brief;
  const fits =
    v.is(errorShapeSchema, full) && new TextEncoder().encode(JSON.stringify(full)).length <= maxBytes;
  return fits ? full : brief;
}
