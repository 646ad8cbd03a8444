import { SkeinError } from '../../src/protocol/errors.ts';
import { FULL_RETRY_SECONDS } from './limits.ts';

export interface AdmissionLimits {
  readonly maxRequests: number;
  /** Of all questions under way together. */
  readonly maxBodiesBytes: number;
}

/** What the gateway has under way, of everybody together. */
export class Admission {
  readonly #limits: AdmissionLimits;
  #requests = 0;
  #bodiesBytes = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  get requests(): number {
    return this.#requests;
  }

  /** @throws SkeinError `busy` for one question too many. */
  enter(): AdmittedQuestion {
    const { maxRequests } = this.#limits;
    if (this.#requests >= maxRequests) {
      throw full(`${maxRequests} requests are under way`, this.#requests + 1);
    }
    this.#requests += 1;
    let ownBytes = 0;
    let isOver = false;
    return {
      takeBytes: (sizeBytes) => {
        if (this.#bodiesBytes + sizeBytes > this.#limits.maxBodiesBytes) {
          throw full(`${this.#requests} requests with much text are under way`, this.#requests);
        }
        this.#bodiesBytes += sizeBytes;
        ownBytes += sizeBytes;
      },
      leave: () => {
        if (isOver) return;
        isOver = true;
        this.#requests -= 1;
        this.#bodiesBytes -= ownBytes;
      },
    };
  }
}

/** A question's share of what may be under way. */
export interface AdmittedQuestion {
  /** Before they are kept. @throws SkeinError `busy` where they are too many, with those of others. */
  takeBytes(sizeBytes: number): void;
  /** Idempotent. */
  leave(): void;
}

function full(what: string, queuePosition: number): SkeinError {
  return new SkeinError('busy', `The gateway has no room: ${what}. Ask again in ${FULL_RETRY_SECONDS} s.`, {
    data: { retryAfterSeconds: FULL_RETRY_SECONDS, queuePosition },
  });
}
