import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { routeTokens } from '../../fixtures/route-tokens.ts';
import type { SampledToken } from '../../../src/client/request-state.ts';
import { ServedStage } from '../../../src/mesh/served-stage.ts';
import { BlockHashChain } from '../../../src/protocol/block-hashes.ts';
import { decodeFrame, encodeFrame } from '../../../src/protocol/frame-codec.ts';
import type { ActivationFormat, Frame } from '../../../src/protocol/frames.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import { GREEDY, NO_HISTORY } from '../../../src/protocol/sampling.ts';
import type { OpenRequest } from '../../../src/protocol/stage.ts';
import type { FrameTransport } from '../../../src/protocol/transport.ts';
import { AddingMachine } from './adding-machine.ts';
import type { AddingMachineOptions } from './adding-machine.ts';
import { ManualClock } from './manual-clock.ts';
import { EPOCH_KEYS } from '../../fixtures/epoch-keys.ts';

export const MODEL = 'adding-machine' as ModelId;

export const peerId = (index: number) => index.toString(16).padStart(32, '0') as PeerId;
export const requestId = (index: number) => index.toString(16).padStart(16, '0') as RequestId;

export interface StageAt {
  readonly hop: Hop;
  readonly machine: AddingMachine;
  readonly served: ServedStage;
}

export interface MeshOptions extends Pick<AddingMachineOptions, 'chunkRows' | 'maxRequests'> {
  readonly maxJournalBytes?: number;
  /** Peer of each stage; by default all different, from 1 on. */
  readonly peers?: readonly PeerId[];
  readonly wireFormat?: ActivationFormat;
  /** Stands between a stage and the hub. */
  readonly wrap?: (transport: FrameTransport) => FrameTransport;
}

/** Stages of an adding machine, one or two layers each, on a hub; the requester is whoever asks. */
export class LocalMesh {
  readonly hub = new LocalHub();
  readonly clock = new ManualClock();
  readonly requester = peerId(0xff);
  readonly layerCount: number;
  readonly stages: readonly StageAt[];

  constructor(stageCount: number, options: MeshOptions = {}) {
    const {
      peers,
      wireFormat = 'f16',
      wrap = (transport: FrameTransport) => transport,
      maxJournalBytes,
      ...machineOptions
    } = options;
    const bounds = Array.from({ length: stageCount + 1 }, (_, index) => index + Math.floor(index / 2));
    const layerCount = bounds[stageCount] ?? 0;
    this.layerCount = layerCount;
    this.stages = Array.from({ length: stageCount }, (_, index): StageAt => {
      const layerStart = bounds[index] ?? 0;
      const layerEnd = bounds[index + 1] ?? 0;
      const hop: Hop = { peer: peers?.[index] ?? peerId(index + 1), layerStart, layerEnd };
      const machine = new AddingMachine({ layerStart, layerEnd, layerCount, ...machineOptions });
      const transport = wrap(this.hub.transport(hop.peer));
      const { clock } = this;
      const served = new ServedStage({
        transport,
        executor: machine,
        model: MODEL,
        layerStart,
        layerEnd,
        wireFormat,
        clock,
        ...(maxJournalBytes !== undefined && { maxJournalBytes }),
      });
      return { hop, machine, served };
    });
  }

  stage(index: number): StageAt {
    const stage = this.stages[index];
    if (!stage) throw new Error(`There is no stage ${index}.`);
    return stage;
  }

  request(promptTokens: number, maxTokens: number, changes: RequestChanges = {}): OpenRequest {
    return {
      route: {
        requestId: changes.requestId ?? requestId(1),
        epoch: changes.epoch ?? 0,
        model: MODEL,
        hops: this.stages.map(({ hop }) => hop),
      },
      requester: changes.requester ?? this.requester,
      promptTokens,
      blockHashes: [],
      timeLimitMs: changes.timeLimitMs ?? 3_600_000,
      maxTokens,
      stopTokenIds: [...(changes.stopTokenIds ?? [])],
      sampling: GREEDY,
      history: NO_HISTORY,
      constraint: null,
      keepsCache: changes.keepsCache ?? true,
      epochKey: EPOCH_KEYS.at(changes.epoch ?? 0),
    };
  }

  /** The stream of one request, as the requester sees it. */
  route(
    prompt: readonly number[],
    maxTokens: number,
    changes: RequestChanges = {},
  ): AsyncGenerator<SampledToken, void, void> {
    const request = this.request(prompt.length, maxTokens, changes);
    const { onOpened, blockHashes, signal = new AbortController().signal } = changes;
    return routeTokens({
      transport: this.hub.transport(request.requester),
      request,
      promptTokenIds: Uint32Array.from(prompt),
      ...(blockHashes && { blockHashes }),
      ...(onOpened && { onOpened }),
      signal,
      clock: this.clock,
    });
  }

  async generate(
    prompt: readonly number[],
    maxTokens: number,
    changes: RequestChanges = {},
  ): Promise<number[]> {
    const tokens: number[] = [];
    for await (const { tokenId } of this.route(prompt, maxTokens, changes)) tokens.push(tokenId);
    return tokens;
  }

  /** Requests open anywhere: nothing may be left behind. */
  get openRequests(): number {
    return this.stages.reduce(
      (sum, { machine, served }) => sum + machine.sequences.size + served.activeRequests,
      0,
    );
  }
}

export interface RequestChanges {
  readonly requestId?: RequestId;
  readonly epoch?: number;
  readonly requester?: PeerId;
  readonly stopTokenIds?: readonly number[];
  readonly signal?: AbortSignal;
  readonly timeLimitMs?: number;
  readonly blockHashes?: BlockHashChain;
  readonly onOpened?: (cachedTokens: number) => void;
  readonly keepsCache?: boolean;
}

/** The hash chain of these tokens, which a route may extend. */
export function chainOf(tokenIds: readonly number[]): BlockHashChain {
  const chain = new BlockHashChain(MODEL);
  chain.append(tokenIds);
  return chain;
}

/** A peer without a stage, which says what a test wants and records what it hears. */
export class Puppet {
  readonly heard: { readonly from: PeerId; readonly frame: Frame }[] = [];

  constructor(private readonly transport: FrameTransport) {
    transport.onFrame((from, bytes) => this.heard.push({ from, frame: decodeFrame(bytes) }));
  }

  async say(to: PeerId, frame: Frame): Promise<void> {
    await this.sayBytes(to, encodeFrame(frame, 'f32'));
  }

  async sayBytes(to: PeerId, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.transport.send(to, bytes);
    await settled();
  }

  /** Codes of the failures heard, in order. */
  get failures(): string[] {
    return this.heard.flatMap(({ frame }) => (frame.type === 'failed' ? [frame.error.code] : []));
  }

  heardTypes(from: PeerId): string[] {
    return this.heard.filter((entry) => entry.from === from).map(({ frame }) => frame.type);
  }
}

/** Resolves when every microtask that can run has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
