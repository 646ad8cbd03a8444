const BUFFERS = ['ArrayBuffer', 'SharedArrayBuffer'] as const;
const TYPED_ARRAYS = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
] as const;
/** What an element of an ordinary array takes. */
const BYTES_PER_REFERENCE = 8;
/** Methods that make a new array without a constructor that anybody could stand in for. */
const COPYING = ['slice', 'map', 'filter'] as const;

type Constructor = new (...args: unknown[]) => object;

/**
 * Counts the bytes that code asks for through array and buffer constructors, from `install` to `uninstall`: exact and the same in
 * every run, which the memory of a process is not. What a number asks for counts whether or not the machine could give it.
 */
export class AllocationSpy {
  bytes = 0;
  readonly #undo: (() => void)[] = [];

  install(): void {
    for (const name of BUFFERS) this.#watch(name, ([size]) => (typeof size === 'number' ? size : 0));
    for (const name of TYPED_ARRAYS) {
      const width = globalThis[name].BYTES_PER_ELEMENT;
      this.#watch(name, ([from]) => elementsOf(from) * width);
    }
    this.#watch('Array', (args) => {
      const [length] = args;
      return args.length === 1 && typeof length === 'number' ? length * BYTES_PER_REFERENCE : 0;
    });
    const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as Record<string, unknown>;
    for (const name of COPYING) this.#watchCopies(typedArray, name);
    this.#watchCopies(ArrayBuffer.prototype as unknown as Record<string, unknown>, 'slice');
  }

  uninstall(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  /** The bytes that `run` asks for; also where it throws. */
  during(run: () => void): number {
    const before = this.bytes;
    run();
    return this.bytes - before;
  }

  #watch(name: string, asked: (args: unknown[]) => number): void {
    const scope = globalThis as unknown as Record<string, Constructor>;
    const original = scope[name];
    if (original === undefined) return;
    scope[name] = new Proxy(original, {
      construct: (target, args: unknown[], newTarget: Constructor) => {
        this.bytes += asked(args);
        return Reflect.construct<unknown[], object>(target, args, newTarget);
      },
    });
    this.#undo.push(() => (scope[name] = original));
  }

  #watchCopies(prototype: Record<string, unknown>, name: string): void {
    const original = prototype[name] as (...args: unknown[]) => { byteLength: number };
    const count = (bytes: number) => (this.bytes += bytes);
    prototype[name] = function (this: unknown, ...args: unknown[]) {
      const copy = Reflect.apply(original, this, args);
      count(copy.byteLength);
      return copy;
    };
    this.#undo.push(() => (prototype[name] = original));
  }
}

/** Elements of a new typed array; one over a buffer that is there already has none of its own. */
function elementsOf(from: unknown): number {
  if (typeof from === 'number') return from;
  if (typeof from !== 'object' || from === null || !('length' in from)) return 0;
  return typeof from.length === 'number' ? from.length : 0;
}
