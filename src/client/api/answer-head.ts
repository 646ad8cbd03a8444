/** What tells one answer from all others, whichever API gives it. */
export interface AnswerHead {
  /** 32 lower-case hex characters; every id in the answer is made of it. */
  readonly id: string;
  /** Unix time. */
  readonly createdSeconds: number;
}

export function newAnswerHead(nowMs = Date.now()): AnswerHead {
  return { id: randomHex(16), createdSeconds: Math.floor(nowMs / 1000) };
}

/** @returns two lower-case characters for each byte. */
export function randomHex(sizeBytes: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(sizeBytes));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
