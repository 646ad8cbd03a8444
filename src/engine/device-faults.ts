import { SkeinError } from '../protocol/errors.ts';
import type { EngineDevice } from './device.ts';

/**
 * Listens for what no call reports: commands the GPU refused after they were queued, and the loss of the device. Either way the
 * numbers in its buffers cannot be trusted any more, so both count as a lost device.
 */
export class DeviceFaults {
  /** Resolves with the first fault, as soon as the browser tells; not after `dispose`. */
  readonly first: Promise<SkeinError>;
  readonly #device: GPUDevice;
  #fault: SkeinError | null = null;
  #tell: (fault: SkeinError) => void = () => undefined;
  readonly #note = (event: GPUUncapturedErrorEvent): void => {
    this.#fault ??= new SkeinError(
      'device-lost',
      `The GPU refused a command, and the slice must be loaded again: ${event.error.message}`,
    );
    this.#tell(this.#fault);
  };

  constructor({ device, lost }: EngineDevice) {
    this.#device = device;
    this.first = new Promise((resolve) => (this.#tell = resolve));
    device.addEventListener('uncapturederror', this.#note);
    void lost.then((error) => {
      this.#fault = error;
      this.#tell(error);
    });
  }

  /** The first fault, or null. */
  get fault(): SkeinError | null {
    return this.#fault;
  }

  /** @throws the fault, if there is one. */
  check(): void {
    if (this.#fault) throw this.#fault;
  }

  dispose(): void {
    this.#device.removeEventListener('uncapturederror', this.#note);
    this.#tell = () => undefined;
  }
}
