import { SentenceBuffer } from '../text/sentence-buffer.ts';
import { wordsOf } from '../text/error-words.ts';
import { isUnderWay } from './conversation.ts';
import type { Turn } from './conversation.ts';

/** Turns a growing conversation into what a screen reader says: whole sentences, then how it ended. */
export class StreamAnnouncer {
  #turnId = -1;
  #sentences = new SentenceBuffer();
  #isOver = true;

  /** @returns what to say now, or null for nothing new. */
  next(turns: readonly Turn[]): string | null {
    const last = turns.at(-1);
    if (last === undefined) return null;
    if (last.id !== this.#turnId) {
      this.#turnId = last.id;
      this.#sentences = new SentenceBuffer();
      this.#isOver = false;
    }
    if (this.#isOver) return null;
    const { answer } = last;
    if (isUnderWay(answer)) return this.#sentences.push(answer.text) || null;
    this.#isOver = true;
    const rest = this.#sentences.flush(answer.text);
    if (answer.status.phase === 'failed') {
      const { title, advice } = wordsOf(answer.status.error);
      return `${rest} ${title}. ${advice}`.trim();
    }
    return answer.status.phase === 'stopped' ? `${rest} Stopped.`.trim() : rest || null;
  }
}
