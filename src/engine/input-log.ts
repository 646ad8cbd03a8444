import { SkeinError } from '../protocol/errors.ts';
import { halfToFloat, halvesFromFloats } from '../protocol/half.ts';
import { pieceIndexAt } from '../protocol/piece-index.ts';
import type { StageInput } from '../protocol/stage.ts';

/** What a piece costs beside its values; an answer's tokens come one by one. */
export const LOG_PIECE_BYTES = 128;

type Content =
  | { readonly kind: 'tokens'; readonly tokenIds: Uint32Array }
  /** Activations that halves hold exactly, as those that came over the wire as halves do. */
  | { readonly kind: 'halves'; readonly halves: Uint16Array }
  | { readonly kind: 'floats'; readonly values: Float32Array };

interface Piece {
  readonly position: number;
  readonly rows: number;
  readonly content: Content;
}

/** Everything that was fed to one sequence, in host memory: from it, cache blocks that were given up are computed again. */
export class InputLog {
  readonly #pieces: Piece[] = [];
  #end: number;
  #sizeBytes = 0;

  /** @param firstPosition of the first row that will come. */
  constructor(readonly firstPosition: number) {
    this.#end = firstPosition;
  }

  /** The position that comes next. */
  get end(): number {
    return this.#end;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** @param input retained. */
  append(input: StageInput): void {
    const content = input.kind === 'tokens' ? input : compact(input.values);
    const rows = rowsOf(input);
    this.#pieces.push({ position: this.#end, rows, content });
    this.#end += rows;
    this.#sizeBytes += LOG_PIECE_BYTES + contentBytes(content);
  }

  /** Copies the token ids of the positions `[firstPosition, firstPosition + target.length)`. */
  readTokens(firstPosition: number, target: Uint32Array): void {
    this.#visit(firstPosition, target.length, (content, from, count, done) => {
      if (content.kind !== 'tokens') throw new SkeinError('internal', 'Tokens were read from activations.');
      target.set(content.tokenIds.subarray(from, from + count), done);
    });
  }

  /** Copies rows of activations. @param target f32 [rows, hidden], row-major. */
  readActivations(firstPosition: number, rows: number, target: Float32Array): void {
    const hiddenSize = target.length / rows;
    this.#visit(firstPosition, rows, (content, from, count, done) => {
      const start = from * hiddenSize;
      const end = (from + count) * hiddenSize;
      const offset = done * hiddenSize;
      if (content.kind === 'tokens') {
        throw new SkeinError('internal', 'Activations were read from tokens.');
      } else if (content.kind === 'floats') {
        target.set(content.values.subarray(start, end), offset);
      } else {
        for (let index = start; index < end; index += 1) {
          target[offset + index - start] = halfToFloat(content.halves[index] ?? 0);
        }
      }
    });
  }

  /** @param visit gets a piece, its first wanted row, how many rows of it are wanted, and how many came before. */
  #visit(
    firstPosition: number,
    rows: number,
    visit: (content: Content, from: number, count: number, done: number) => void,
  ): void {
    if (firstPosition < this.firstPosition || firstPosition + rows > this.#end) {
      throw new SkeinError(
        'internal',
        `Rows ${firstPosition} to ${firstPosition + rows} were read from a log of ${this.firstPosition} to ${this.#end}.`,
      );
    }
    let done = 0;
    for (let index = pieceIndexAt(this.#pieces, firstPosition); done < rows; index += 1) {
      const piece = this.#pieces[index];
      if (piece === undefined) throw new SkeinError('internal', 'A log has a hole.');
      const from = firstPosition + done - piece.position;
      const count = Math.min(piece.rows - from, rows - done);
      visit(piece.content, from, count, done);
      done += count;
    }
  }
}

export function rowsOf(input: StageInput): number {
  return input.kind === 'tokens' ? input.tokenIds.length : input.rows;
}

function compact(values: Float32Array): Content {
  const halves = halvesFromFloats(values);
  const isExact = values.every((value, index) => Object.is(halfToFloat(halves[index] ?? 0), value));
  return isExact ? { kind: 'halves', halves } : { kind: 'floats', values };
}

function contentBytes(content: Content): number {
  switch (content.kind) {
    case 'tokens':
      return content.tokenIds.byteLength;
    case 'halves':
      return content.halves.byteLength;
    case 'floats':
      return content.values.byteLength;
  }
}
