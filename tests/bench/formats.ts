import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Checkpoint } from '../../src/model/checkpoint.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import { quantizedCheckpoint } from '../../src/model/quantize.ts';
import { sliceTensors } from '../../src/model/tensor-names.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { WRITABLE_FORMATS } from '../fixtures/quantized-models.ts';
import type { Golden } from '../golden/golden-file.ts';
import { meanNll } from '../reference/heldout.ts';
import { loadReferenceWeights } from '../reference/load-weights.ts';
import type { BenchOptions } from './bench-command.ts';
import { atMost, benchReport } from './report.ts';
import type { BenchReport, Check } from './report.ts';

const FOLDER = fileURLToPath(new URL('../../public/models/skein-tiny', import.meta.url));
/** What golden.json rounds to, and how far float64 sums of another order can be. */
const BASELINE_TOLERANCE = 1e-6;
const INT8_BOUND_PERCENT = 0.1;
const INT4_BOUND_PERCENT = 1;
/** Elements that share a scale, up to which 4 bits must hold their bound. */
const BOUND_GROUP_SIZE = 32;

export interface FormatsOptions {
  /** Parts of the labels of the formats to measure, comma separated; all without. */
  readonly only?: string;
  /** How many of the held-out texts. */
  readonly texts?: number;
  /** False: that of golden.json, over all texts, which another implementation computed. Default true. */
  readonly baseline?: boolean;
}

interface Candidate {
  readonly label: string;
  readonly bits: number;
  readonly groupSize: number | null;
  readonly open: () => Promise<Checkpoint>;
}

/**
 * Held-out likelihood of skein-tiny in every weight format, computed in float64 from the dequantised weights by the reference
 * transformer. No kernel takes part: what differs is what the formats lose.
 */
export async function run({
  onProgress,
  only = '',
  texts,
  baseline: computesBaseline = true,
}: BenchOptions & FormatsOptions): Promise<BenchReport> {
  const source = new FolderSource(FOLDER);
  const stored = await openCheckpoint(source);
  const tokenizer = await Tokenizer.load(source);
  const golden = JSON.parse(await readFile(`${FOLDER}/golden.json`, 'utf8')) as Golden;
  const ids = golden.heldout.texts.slice(0, texts).map((text) => tokenizer.encode(text));
  const measure = async (checkpoint: Checkpoint) => meanNll(await loadReferenceWeights(checkpoint), ids);
  const elements = elementCount(stored);

  const wanted = only.toLowerCase().split(',');
  if (computesBaseline) onProgress('bf16');
  const baseline = computesBaseline ? await measure(stored) : golden.heldout.mean_nll;
  const rows = [{ format: 'bf16', 'bits/weight': 16, 'held-out NLL': baseline, 'change %': 0 }];
  const checks: Check[] = [];
  if (computesBaseline && texts === undefined) {
    checks.push(
      atMost('bf16 against golden.json', Math.abs(baseline - golden.heldout.mean_nll), BASELINE_TOLERANCE),
    );
  }
  for (const { label, bits, groupSize, open } of candidates(stored)) {
    if (!wanted.some((part) => label.toLowerCase().includes(part))) continue;
    onProgress(label);
    const checkpoint = await open();
    const nll = await measure(checkpoint);
    const change = 100 * (nll / baseline - 1);
    rows.push({
      format: groupSize === null ? label : `${label}, groups of ${groupSize}`,
      'bits/weight': (8 * (await byteCount(checkpoint))) / elements,
      'held-out NLL': nll,
      'change %': change,
    });
    const name = `${label}: change of NLL, %`;
    if (label.endsWith('int8') && groupSize === BOUND_GROUP_SIZE) {
      checks.push(atMost(name, Math.abs(change), INT8_BOUND_PERCENT));
    } else if (bits === 4 && groupSize !== null && groupSize <= BOUND_GROUP_SIZE) {
      checks.push(atMost(name, Math.abs(change), INT4_BOUND_PERCENT));
    }
  }
  return benchReport('formats', 'CPU, float64', [{ title: 'skein-tiny by weight format', rows }], checks);
}

function candidates(stored: Checkpoint): Candidate[] {
  return [
    ...(['int8', 'int4'] as const).map((quantization) => ({
      label: `--quantize ${quantization}`,
      bits: quantization === 'int8' ? 8 : 4,
      groupSize: 32,
      open: () => Promise.resolve(quantizedCheckpoint(stored, quantization)),
    })),
    ...WRITABLE_FORMATS.map((format) => ({
      ...format,
      open: async () => openCheckpoint(await format.write(stored)),
    })),
  ];
}

function specsOf({ architecture }: Checkpoint) {
  return sliceTensors(architecture, { layerStart: 0, layerEnd: architecture.layerCount });
}

function elementCount(checkpoint: Checkpoint): number {
  return specsOf(checkpoint).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

/** As slices hold it. */
async function byteCount(checkpoint: Checkpoint): Promise<number> {
  let bytes = 0;
  for (const { name } of specsOf(checkpoint)) bytes += await checkpoint.sizeBytes(name);
  return bytes;
}
