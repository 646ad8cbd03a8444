import { createHmac, timingSafeEqual } from 'node:crypto';
import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';

/** Shorter secrets could be guessed from one token, without asking the server. */
const MIN_SECRET_BYTES = 16;

/**
 * Proves who a peer was before its connection broke: HMAC-SHA256 of the peer id in base64url, under a secret that outlives the
 * process. Nothing is remembered of the tokens that were given; who shows one last has the id.
 */
export class ResumeTokens {
  readonly #secret: Uint8Array;

  /** @throws SkeinError `bad-argument` for a secret of less than 16 bytes. */
  constructor(secret: Uint8Array) {
    if (secret.byteLength < MIN_SECRET_BYTES) {
      throw new SkeinError(
        'bad-argument',
        `The server's secret has ${secret.byteLength} bytes. Give at least ${MIN_SECRET_BYTES} random ones.`,
      );
    }
    this.#secret = secret;
  }

  tokenOf(peer: PeerId): string {
    return this.#digest(peer).toString('base64url');
  }

  /** Takes the same time for every wrong token of the right length. */
  isRight(peer: PeerId, token: string): boolean {
    const [given, right] = [Buffer.from(token), Buffer.from(this.tokenOf(peer))];
    return given.byteLength === right.byteLength && timingSafeEqual(given, right);
  }

  #digest(peer: PeerId): Buffer {
    return createHmac('sha256', this.#secret).update(peer).digest();
  }
}
