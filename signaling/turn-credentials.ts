import { createHmac } from 'node:crypto';
import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import type { IceServer } from '../src/protocol/signaling.ts';

export interface TurnOptions {
  /** `turn:` and `turns:` URLs of one server or of several that share the secret. */
  readonly urls: readonly string[];
  /** What coturn has as `static-auth-secret`. */
  readonly secret: string;
  /** How long a credential can be used to begin with a relay; a relay that is in use goes on. */
  readonly ttlSeconds: number;
}

/**
 * Credentials for a relay that nobody has to be registered at, each for one peer and a short time: the user name is when they
 * end and for whom they are, the password HMAC-SHA1 of it under a secret that the relay has too. The convention is coturn's
 * (draft-uberti-behave-turn-rest-00).
 */
export class TurnCredentials {
  readonly #options: TurnOptions;
  readonly #unixSeconds: () => number;

  /** @throws SkeinError `bad-argument` for no URL, one that is not of a relay, an empty secret or no time. */
  constructor(options: TurnOptions, unixSeconds: () => number) {
    checkOptions(options);
    this.#options = options;
    this.#unixSeconds = unixSeconds;
  }

  /** After this long everybody is to be given new ones: half of the time in which they can be used. */
  get renewMs(): number {
    return (this.#options.ttlSeconds * 1000) / 2;
  }

  of(peer: PeerId): IceServer {
    const { urls, secret, ttlSeconds } = this.#options;
    const username = `${Math.floor(this.#unixSeconds() + ttlSeconds)}:${peer}`;
    const credential = createHmac('sha1', secret).update(username).digest('base64');
    return { urls: [...urls], username, credential };
  }
}

function checkOptions({ urls, secret, ttlSeconds }: TurnOptions): void {
  const wrong = urls.find((url) => !/^turns?:[^\s]+$/i.test(url));
  if (urls.length === 0 || wrong !== undefined) {
    const what = wrong === undefined ? 'No URL of a TURN server was given' : `"${wrong}" is not a TURN URL`;
    throw new SkeinError('bad-argument', `${what}. Give one like turn:turn.example.org:3478.`);
  }
  if (secret === '') {
    throw new SkeinError(
      'bad-argument',
      'TURN servers need the secret that they share with this server: static-auth-secret of coturn.',
    );
  }
  if (!(ttlSeconds >= 1)) {
    throw new SkeinError(
      'bad-argument',
      `TURN credentials of ${ttlSeconds} s end at once. Give a second or more.`,
    );
  }
}
