import type {
  OpenRequest,
  StageExecutor,
  StageInput,
  StageOutput,
  StagePace,
} from '../../src/protocol/stage.ts';
import type { RequestId } from '../../src/protocol/ids.ts';

/** A stage that computes nothing: rows of zeros come out, of the right width, and token 0 at the end of a route. */
export class JunkMachine implements StageExecutor {
  onStep: (outputs: readonly StageOutput[]) => Promise<void> = () => Promise.resolve();
  readonly #requests = new Map<RequestId, OpenRequest>();
  #steps = 0;

  constructor(
    private readonly hiddenSize: number,
    private readonly isLast: boolean,
  ) {}

  get pace(): StagePace {
    return { steps: this.#steps, typicalStepMs: 1 };
  }

  get openRequests(): number {
    return this.#requests.size;
  }

  open(request: OpenRequest): { readonly cachedTokens: number } {
    this.#requests.set(request.route.requestId, request);
    return { cachedTokens: 0 };
  }

  push(requestId: RequestId, position: number, input: StageInput): void {
    const request = this.#requests.get(requestId);
    if (request === undefined) return;
    const rows = input.kind === 'tokens' ? input.tokenIds.length : input.rows;
    const end = position + rows;
    this.#steps += 1;
    if (!this.isLast) {
      const values = new Float32Array(rows * this.hiddenSize);
      void this.onStep([{ kind: 'activations', requestId, position, rows, values }]);
    } else if (end >= request.promptTokens) {
      const token = { tokenId: 0, logProbability: -1, topLogProbabilities: [] };
      void this.onStep([{ kind: 'token', requestId, position: end, ...token }]);
    }
  }

  pause(): void {
    return;
  }

  close(requestId: RequestId): void {
    this.#requests.delete(requestId);
  }
}
