import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { LocalEnginePort } from '../../src/cli/local-engine-port.ts';
import { openServedModels } from '../../src/cli/served-models.ts';
import { generate } from '../../src/client/generate.ts';
import { Contributor } from '../../src/contributor/contributor.ts';
import { WorkerEngineHost } from '../../src/contributor/worker-engine-host.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import { LocalHub } from '../../src/mesh/local-hub.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { WeightCache } from '../../src/model/weight-cache.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { decodeFrame, peekFrameType } from '../../src/protocol/frame-codec.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import type { ErrorShape } from '../../src/protocol/errors.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { MemoryByteStore } from '../fixtures/memory-byte-store.ts';
import { ModelServer } from '../fixtures/model-server.ts';
import type { Golden } from '../golden/golden-file.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import { FakeSession, peerId } from '../unit/contributor/fakes.ts';

const MEMORY_LIMIT_BYTES = 64 * 1024 ** 2;
const WEIGHTS = 'models/skein-tiny/model.safetensors';

let gpu: GPU;
let server: ModelServer;
let card: ModelCard;
let golden: Golden;
let tokenizer: Tokenizer;
/** Measured once: how fast an adapter is is not what this is about. */
const tunings = new Map<string, Tuning>();

beforeAll(async () => {
  gpu = await createNodeGpu();
  const [served] = await openServedModels([EMBEDDED_MODEL]);
  if (served === undefined) throw new Error('no model');
  ({ card } = served);
  golden = JSON.parse(await readFile(`${EMBEDDED_MODEL}/golden.json`, 'utf8')) as Golden;
  tokenizer = await Tokenizer.load(new FolderSource(EMBEDDED_MODEL));
  const names = ['config.json', 'model.safetensors'];
  const files = names.map(
    async (name) => [`models/skein-tiny/${name}`, await readFile(`${EMBEDDED_MODEL}/${name}`)] as const,
  );
  server = await ModelServer.start(new Map(await Promise.all(files)), { version: '"one"' });
});
afterAll(() => server.stop());

/** A peer that lends the machine's GPU, as `skein join` does, with every device that it opened. */
class Lender {
  readonly devices: GPUDevice[] = [];
  readonly session: FakeSession;
  readonly #contributor: Contributor;
  readonly #weights = new WeightCache(new MemoryByteStore());
  #loseRows: (() => void) | null = null;

  constructor(
    seed: string,
    hub: LocalHub,
    readonly layerStart: number,
    readonly layerEnd: number,
  ) {
    const transport = hub.transport(peerId(seed));
    this.session = new FakeSession(seed, {
      self: transport.self,
      send: (to, frame) => {
        const lose = peekFrameType(frame) === 'activations' ? this.#loseRows : null;
        if (lose === null) return transport.send(to, frame);
        this.#loseRows = null;
        lose();
        return Promise.resolve();
      },
      onFrame: (listener) => transport.onFrame(listener),
      onPeerLost: (listener) => transport.onPeerLost(listener),
      reject: (from, reason) => transport.reject(from, reason),
    });
    this.session.models.splice(0, 1, card);
    const kept = {
      weights: this.#weights,
      tunings: {
        load: (key: string) => Promise.resolve(tunings.get(key)),
        save: (key: string, tuning: Tuning) => Promise.resolve(void tunings.set(key, tuning)),
      },
    };
    this.#contributor = new Contributor({
      createHost: () =>
        new WorkerEngineHost(`${server.url}/`, new LocalEnginePort(noting(gpu, this.devices), kept)),
    });
    this.#contributor.setSession(this.session);
  }

  get hop(): Hop {
    const { layerStart, layerEnd } = this;
    return { peer: this.session.self, layerStart, layerEnd };
  }

  get device(): GPUDevice {
    const device = this.devices.at(-1);
    if (device === undefined) throw new Error('no device');
    return device;
  }

  async serve(): Promise<void> {
    this.#contributor.start({ memoryLimitBytes: MEMORY_LIMIT_BYTES });
    await this.reached('waiting');
    const { layerStart, layerEnd } = this;
    this.session.deliver({ type: 'assign', model: card.id, layerStart, layerEnd });
    await this.reached('serving');
  }

  reached(phase: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { state } = this.#contributor;
        if (state.phase === phase) resolve();
        if (state.phase === 'failed') reject(state.error);
      };
      this.#contributor.subscribe(look);
      look();
    });
  }

  /** The next rows that it sends get lost. @param onLost called instead of sending them. */
  loseRows(onLost: () => void): void {
    this.#loseRows = onLost;
  }

  leave(): void {
    this.#contributor.leave();
  }
}

let hub: LocalHub;
let lenders: readonly [first: Lender, last: Lender];
beforeEach(async () => {
  hub = new LocalHub();
  lenders = [new Lender('a', hub, 0, 3), new Lender('b', hub, 3, card.layerCount)];
  for (const lender of lenders) await lender.serve();
});
afterEach(() => {
  for (const lender of lenders) lender.leave();
});

/** @param onToken called with the number of tokens so far. */
async function answer(
  prompt: readonly number[],
  onToken: (count: number) => void,
): Promise<{ tokens: number[]; epochs: number; failures: ErrorShape[] }> {
  const transport = hub.transport(peerId('c'));
  const failures: ErrorShape[] = [];
  const stop = transport.onFrame((_from, bytes) => {
    if (peekFrameType(bytes) !== 'failed') return;
    const frame = decodeFrame(bytes);
    if (frame.type === 'failed') failures.push(frame.error);
  });
  let epochs = 0;
  const tokens: number[] = [];
  const events = generate(
    { model: card.id, prompt: { kind: 'ids', ids: prompt }, maxTokens: 96, sampling: GREEDY },
    {
      transport,
      tokenizer,
      requestRoute: async (query) => {
        epochs += 1;
        // As a server does that has nobody else: the peer is routed over again once it serves.
        for (const lender of lenders) await lender.reached('serving');
        return { ...query, hops: lenders.map(({ hop }) => hop) };
      },
      endRoute: () => undefined,
      now: () => performance.now(),
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    },
  );
  for await (const event of events) {
    if (event.type !== 'token') continue;
    tokens.push(event.tokenId);
    onToken(tokens.length);
  }
  stop();
  return { tokens, epochs, failures };
}

it.each([0, 1] as const)(
  'an answer goes on with the same tokens when the device of stage %i is lost in the middle of it',
  async (lost) => {
    const lender = lenders[lost];
    const [golden0] = golden.cases;
    if (golden0 === undefined) throw new Error('no golden case');
    const before = server.sentBytes.get(WEIGHTS);
    const device = lender.device;
    const { tokens, epochs, failures } = await answer(golden0.prompt_ids, (count) => {
      if (count === 5) device.destroy();
    });
    expect(tokens).toEqual(golden0.greedy_ids);
    expect(epochs).toBe(2);
    expect(failures[0]).toMatchObject({ code: 'device-lost', data: { peer: lender.session.self } });
    expect(lender.devices).toHaveLength(2);
    expect(lenders[1 - lost]?.devices).toHaveLength(1);
    const said = lender.session.sent.map(({ type }) => type).filter((type) => type !== 'report');
    expect(said).toEqual(['join', 'serving', 'reloading', 'serving']);
    // The weights were still here, but for the byte with which their version is asked for.
    expect((server.sentBytes.get(WEIGHTS) ?? 0) - (before ?? 0)).toBeLessThan(16);
  },
);

it('a stage that has nothing to compute tells at once, too, that its device is lost', async () => {
  const [first, last] = lenders;
  const { device } = last;
  first.loseRows(() => device.destroy());
  const { tokens, failures } = await answer(golden.cases[2]?.prompt_ids ?? [], () => undefined);
  expect(failures[0]).toMatchObject({ code: 'device-lost', data: { peer: last.session.self } });
  expect(tokens).toEqual(golden.cases[2]?.greedy_ids);
});

it('a command that the GPU refuses is found without any step, and the device replaced', async () => {
  const [lender] = lenders;
  const { device } = lender;
  const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
  buffer.destroy();
  const encoder = device.createCommandEncoder();
  encoder.clearBuffer(buffer);
  device.queue.submit([encoder.finish()]);
  await lender.reached('rebuilding');
  await lender.reached('serving');
  expect(lender.devices).toHaveLength(2);
  const { tokens } = await answer(golden.cases[1]?.prompt_ids ?? [], () => undefined);
  expect(tokens).toEqual(golden.cases[1]?.greedy_ids);
});

it('a device that is lost while nobody asks anything is replaced as well', async () => {
  const [, lender] = lenders;
  lender.device.destroy();
  await lender.reached('rebuilding');
  await lender.reached('serving');
  const lost = lender.session.sent.find(({ type }) => type === 'reloading');
  expect(lost).toMatchObject({ layerStart: 3, error: { code: 'device-lost' } });
});

/** The GPU, with every device that is asked of it noted down. */
function noting(real: GPU, devices: GPUDevice[]): GPU {
  const requestAdapter = async (options?: GPURequestAdapterOptions) => {
    const adapter = await real.requestAdapter(options);
    if (adapter === null) throw new SkeinError('no-adapter', 'There is no adapter.');
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      devices.push(device);
      return device;
    };
    return adapter;
  };
  const { wgslLanguageFeatures } = real;
  return { requestAdapter, wgslLanguageFeatures } as GPU;
}
