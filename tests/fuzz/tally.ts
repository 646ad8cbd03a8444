import { SkeinError } from '../../src/protocol/errors.ts';
import type { ErrorCode } from '../../src/protocol/errors.ts';

/** What is kept of problems: the first ones say what is wrong, and how many there are is counted. */
const MAX_KEPT_PROBLEMS = 20;
/** Characters of an error's message; more would let whoever sends garbage fill logs with it. */
const MAX_MESSAGE_CHARACTERS = 2000;

/** What became of mutated input at one target. */
export class Tally {
  accepted = 0;
  readonly rejected = new Map<string, number>();
  problemCount = 0;
  readonly problems: string[] = [];

  constructor(readonly target: string) {}

  get tried(): number {
    return this.accepted + this.rejections;
  }

  get rejections(): number {
    return [...this.rejected.values()].reduce((sum, count) => sum + count, 0);
  }

  accept(): void {
    this.accepted += 1;
  }

  /** A rejection that is typed as documented counts; anything else thrown is a problem. */
  reject(thrown: unknown, code: ErrorCode, input: () => string): void {
    const found = thrown instanceof SkeinError ? thrown.code : 'untyped';
    this.rejected.set(found, (this.rejected.get(found) ?? 0) + 1);
    if (found !== code) this.problem(`threw ${describe(thrown)} instead of ${code}`, input);
    else if (SkeinError.from(thrown).message.length > MAX_MESSAGE_CHARACTERS) {
      this.problem(`an error message of ${SkeinError.from(thrown).message.length} characters`, input);
    }
  }

  problem(what: string, input: () => string = () => ''): void {
    this.problemCount += 1;
    if (this.problems.length < MAX_KEPT_PROBLEMS)
      this.problems.push(`${this.target}: ${what} ${input()}`.trim());
  }
}

export function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const where = (thrown.stack ?? '').split('\n').slice(1, 4).join(' ').replaceAll(/\s+/g, ' ');
  const code = thrown instanceof SkeinError ? `${thrown.code}: ` : '';
  return `${code}${thrown.name}: ${thrown.message.slice(0, 300)} ${where}`;
}

const MAX_SHOWN_BYTES = 160;

/** The start of some bytes, in hex. */
export function hexOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, MAX_SHOWN_BYTES)).toString('hex');
  return `[${bytes.length} bytes: ${hex}${bytes.length > MAX_SHOWN_BYTES ? '…' : ''}]`;
}
