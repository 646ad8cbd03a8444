import type { Dice } from './dice.ts';

/** Heads, records and counts are here. */
const HEAD_BYTES = 96;
const EDGE_U32 = [
  ...[
    0,
    1,
    2,
    15,
    16,
    17,
    255,
    256,
    257,
    4095,
    4096,
    4097,
    32_768,
    32_769,
    65_535,
    65_536,
    1 << 20,
    (1 << 20) + 1,
  ],
  ...[0x00ff_ffff, 0x0100_0000, 0x7f80_0000, 0x7fc0_0000, 0xff80_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff],
];
const EDGE_U16 = [0, 1, 2, 255, 256, 257, 0x7c00, 0x7e00, 0xfc00, 0x7fff, 0x8000, 0xffff];
const EDGE_U8 = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 20, 21, 127, 128, 255];

/** A copy of the bytes, changed in one to four places. @param donor another frame, of any kind. */
export function mutateBytes(bytes: Uint8Array, donor: Uint8Array, dice: Dice): Uint8Array<ArrayBuffer> {
  let mutated = Uint8Array.from(bytes);
  const rounds = dice.oneOf([1, 1, 1, 2, 4]);
  for (let round = 0; round < rounds; round++) mutated = mutateOnce(mutated, donor, dice);
  return mutated;
}

function mutateOnce(bytes: Uint8Array<ArrayBuffer>, donor: Uint8Array, dice: Dice): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0) return Uint8Array.from(donor);
  switch (dice.below(12)) {
    case 0:
    case 1:
      flipBits(bytes, dice);
      return bytes;
    case 2:
      return bytes.slice(0, dice.below(bytes.length));
    case 3:
      return joined(bytes, extension(bytes, donor, dice));
    case 4:
    case 5:
    case 6:
      overwrite(bytes, dice);
      return bytes;
    case 7:
      return joined(bytes.subarray(0, dice.below(bytes.length)), donor.subarray(dice.below(donor.length)));
    case 8:
      return withoutChunk(bytes, dice);
    case 9:
      return withChunkTwice(bytes, dice);
    case 10:
      return lied(bytes, dice);
    default:
      poisonTail(bytes, dice);
      return bytes;
  }
}

function flipBits(bytes: Uint8Array, dice: Dice): void {
  for (let flips = dice.whole(1, 8); flips > 0; flips--) {
    const at = placeIn(bytes, 1, dice);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
  }
}

function extension(bytes: Uint8Array, donor: Uint8Array, dice: Dice): Uint8Array {
  const length = dice.oneOf([1, 2, 4, 8, 16, 20, 28, 64, 4096]);
  return dice.oneOf([
    () => new Uint8Array(length),
    () => Uint8Array.from({ length }, () => dice.below(256)),
    () => donor.subarray(0, length),
    () => bytes.subarray(0, length),
  ])();
}

/** A field, whatever it is, at the edge of its range. */
function overwrite(bytes: Uint8Array, dice: Dice): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const width = Math.min(dice.oneOf([1, 2, 4]), bytes.length);
  const at = placeIn(bytes, width, dice);
  if (width === 1) view.setUint8(at, dice.oneOf(EDGE_U8));
  else if (width < 4) view.setUint16(at, dice.oneOf(EDGE_U16), true);
  else view.setUint32(at, dice.oneOf(EDGE_U32), true);
}

/** A number is a little more or less, and sometimes the bytes that it counts come with it. */
function lied(bytes: Uint8Array<ArrayBuffer>, dice: Dice): Uint8Array<ArrayBuffer> {
  if (bytes.length < 4) return bytes;
  const view = new DataView(bytes.buffer);
  const change = dice.oneOf([-1, 1, 2, 16, 256]);
  if (dice.chance(0.4)) view.setUint16(2, view.getUint16(2, true) + change, true);
  else {
    const at = placeIn(bytes, 4, dice);
    view.setUint32(at, view.getUint32(at, true) + change, true);
  }
  if (dice.chance(0.5)) return bytes;
  const unit = dice.oneOf([2, 4, 8, 16, 20, 28]);
  return change > 0 ? joined(bytes, new Uint8Array(unit * change)) : bytes.slice(0, -unit);
}

/** Values that are not finite, where the payload is. */
function poisonTail(bytes: Uint8Array, dice: Dice): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const width = dice.oneOf([2, 4]);
  const slots = Math.floor(bytes.length / width);
  if (slots === 0) return;
  const at = (slots - 1 - dice.below(Math.min(slots, 16))) * width;
  if (width === 2) view.setUint16(at, dice.oneOf([0x7c00, 0xfc00, 0x7e00, 0xffff]), true);
  else view.setUint32(at, dice.oneOf([0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001]), true);
}

function withoutChunk(bytes: Uint8Array, dice: Dice): Uint8Array<ArrayBuffer> {
  const start = placeIn(bytes, 1, dice);
  return joined(bytes.subarray(0, start), bytes.subarray(start + dice.oneOf([1, 2, 4, 8, 16, 20])));
}

function withChunkTwice(bytes: Uint8Array, dice: Dice): Uint8Array<ArrayBuffer> {
  const start = placeIn(bytes, 1, dice);
  const end = start + dice.oneOf([1, 2, 4, 8, 16, 20]);
  return joined(bytes.subarray(0, end), bytes.subarray(start));
}

/** Mostly in the head, and mostly where fields begin. */
function placeIn(bytes: Uint8Array, width: number, dice: Dice): number {
  const last = bytes.length - width;
  const within = dice.chance(0.8) ? Math.min(last, HEAD_BYTES) : last;
  const at = dice.below(within + 1);
  return dice.chance(0.8) ? at - (at % width) : at;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
