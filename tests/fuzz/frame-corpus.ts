import fc from 'fast-check';
import { decodeFrame, encodeFrame } from '../../src/protocol/frame-codec.ts';
import { FRAME_KIND } from '../../src/protocol/frame-layout.ts';
import type { Frame } from '../../src/protocol/frames.ts';
import type { RequestId } from '../../src/protocol/ids.ts';
import { anyFrame } from '../unit/protocol/frame-arbitraries.ts';
import { mutateBytes } from './byte-mutations.ts';
import type { Dice } from './dice.ts';
import { mutateJson } from './json-mutations.ts';

/** A frame that is as it should be. */
export interface Specimen {
  readonly type: Frame['type'];
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the JSON of an `open` or `failed` frame begins, and what it says; null for other frames. */
  readonly json: { readonly start: number; readonly value: unknown } | null;
}

const SPECIMENS = 3000;
const LARGE_CHANCE = 1 / 5000;
const JSON_CHANCE = 0.35;
/** Rows and widths of frames that take up to several MiB. */
const LARGE_SHAPES = [
  [4096, 64],
  [512, 1024],
  [1, 32_768],
] as const;

/** Sound frames of every type, from the generators of the codec's own tests, so that new types come by themselves. */
export class FrameCorpus {
  readonly #specimens: readonly Specimen[];
  readonly #large: readonly Specimen[];

  constructor(private readonly dice: Dice) {
    const frames = fc.sample(anyFrame, { numRuns: SPECIMENS, seed: dice.below(2 ** 31) });
    this.#specimens = frames.map((frame) => specimen(encodeFrame(frame, dice.chance(0.5) ? 'f16' : 'f32')));
    this.#large = LARGE_SHAPES.map(([rows, hiddenSize]) => specimen(largeFrame(rows, hiddenSize, dice)));
  }

  /** Types that no generator makes: a fuzz that leaves one out has not fuzzed it. */
  get missingTypes(): string[] {
    const made = new Set(this.#specimens.map(({ type }) => type));
    return (Object.keys(FRAME_KIND) as Frame['type'][]).filter((type) => !made.has(type));
  }

  sound(): Specimen {
    return this.dice.chance(LARGE_CHANCE) ? this.dice.oneOf(this.#large) : this.dice.oneOf(this.#specimens);
  }

  /** A frame with something wrong, or nothing: some mutations make another sound frame. */
  mutated(from: Specimen = this.sound()): Uint8Array<ArrayBuffer> {
    const donor = this.dice.oneOf(this.#specimens);
    if (from.json === null || !this.dice.chance(JSON_CHANCE))
      return mutateBytes(from.bytes, donor.bytes, this.dice);
    const text = mutateJson(from.json.value, donor.json?.value ?? { position: 1 }, this.dice);
    const json = new TextEncoder().encode(text);
    const bytes = new Uint8Array(from.json.start + json.length);
    bytes.set(from.bytes.subarray(0, from.json.start));
    bytes.set(json, from.json.start);
    return this.dice.chance(0.2) ? mutateBytes(bytes, donor.bytes, this.dice) : bytes;
  }
}

export function specimen(bytes: Uint8Array<ArrayBuffer>): Specimen {
  const { type } = decodeFrame(bytes);
  return { type, bytes, json: type === 'open' || type === 'failed' ? findJson(bytes) : null };
}

/** The head before it is binary, and may have braces too. */
function findJson(bytes: Uint8Array): Specimen['json'] {
  for (let start = bytes.indexOf(0x7b); start !== -1; start = bytes.indexOf(0x7b, start + 1)) {
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(start));
      return { start, value: JSON.parse(text) as unknown };
    } catch {
      continue;
    }
  }
  return null;
}

function largeFrame(rows: number, hiddenSize: number, dice: Dice): Uint8Array<ArrayBuffer> {
  const values = Float32Array.from({ length: rows * hiddenSize }, () => dice.between(-2, 2));
  const sequence = { requestId: dice.hexDigits(16) as RequestId, epoch: 1, position: 16, rows, values };
  return encodeFrame({ type: 'activations', hiddenSize, sequences: [sequence] }, 'f16');
}
