import { requestEngineDevice } from '../../../src/engine/device.ts';
import { HttpSource } from '../../../src/model/http-source.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ErrorShape } from '../../../src/protocol/errors.ts';
import { measureBound } from '../bound.ts';
import type { AdapterBound } from '../bound.ts';
import { compare } from './compare.ts';
import type { CompareTask, Comparison } from './compare.ts';
import { OnnxDecoder } from './onnx-decoder.ts';
import { SliceDecoder } from './slice-decoder.ts';
import { weightVariant } from './weight-variant.ts';
import type { WeightVariant } from './weight-variant.ts';

export interface EngineCase extends CompareTask {
  /** Of the folder, with a slash at the end. */
  readonly modelUrl: string;
  readonly variant: WeightVariant;
  /** Of the same weights, and what they are called in the report. */
  readonly graphs: readonly { readonly name: string; readonly url: string }[];
  readonly maxPositions: number;
}

export interface EngineCaseResult extends Comparison {
  readonly adapterName: string;
  readonly bound: AdapterBound;
}

export type WorkerMessage =
  | { readonly type: 'progress'; readonly line: string }
  | { readonly type: 'done'; readonly result: EngineCaseResult }
  | { readonly type: 'failed'; readonly error: ErrorShape };

const post = (message: WorkerMessage) => self.postMessage(message);

self.onmessage = ({ data }: MessageEvent<EngineCase>) => {
  runCase(data).then(
    (result) => post({ type: 'done', result }),
    (thrown: unknown) => post({ type: 'failed', error: SkeinError.from(thrown).toShape() }),
  );
};

async function runCase(task: EngineCase): Promise<EngineCaseResult> {
  const onProgress = (line: string) => post({ type: 'progress', line });
  const checkpoint = await openCheckpoint(new HttpSource(task.modelUrl));
  const { architecture } = checkpoint;
  const engine = await requestEngineDevice(navigator.gpu);
  const bound = await measureBound(engine.device);
  onProgress('Skein: loads');
  const ours = await SliceDecoder.load(engine, weightVariant(checkpoint, task.variant), task.maxPositions);
  const peers: OnnxDecoder[] = [];
  for (const { name, url } of task.graphs) {
    onProgress(`${name}: loads`);
    peers.push(await OnnxDecoder.load({ name, architecture, url, maxPositions: task.maxPositions }));
  }
  const comparison = await compare([ours, ...peers], task, onProgress);
  for (const decoder of [ours, ...peers]) await decoder.dispose();
  engine.device.destroy();
  return { ...comparison, adapterName: engine.adapterName, bound };
}
