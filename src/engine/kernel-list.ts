import type { StepKernel } from './step.ts';

/** The kernels of a slice in order of the pass. They compile while the weights of the next ones are still on their way. */
export class KernelList {
  readonly #pending: Promise<StepKernel>[] = [];

  add(...kernels: Promise<StepKernel>[]): void {
    for (const kernel of kernels) {
      // Whoever waits for all of them hears of a failure; until then it is nobody's.
      kernel.catch(() => undefined);
      this.#pending.push(kernel);
    }
  }

  /** @throws SkeinError what creating a kernel threw. */
  all(): Promise<StepKernel[]> {
    return Promise.all(this.#pending);
  }
}
