import { readFile } from 'node:fs/promises';
import { expect, test } from '@playwright/test';
import { runDemo } from '../demo/demo.ts';
import type { Golden } from '../golden/golden-file.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import { prepareChromium } from '../rig/prepare.ts';

const golden = JSON.parse(await readFile(`${EMBEDDED_MODEL}/golden.json`, 'utf8')) as Golden;
const { hidden_size: hiddenSize, num_hidden_layers: layerCount } = JSON.parse(
  await readFile(`${EMBEDDED_MODEL}/config.json`, 'utf8'),
) as { hidden_size: number; num_hidden_layers: number };
/** Halves, and what frames and messages may add per token. */
const MAX_BYTES_PER_TOKEN = hiddenSize * 2 + 64;

for (const tabs of [3, 1]) {
  test(`the demo with ${tabs} tab${tabs === 1 ? '' : 's'} gives golden tokens over as many peers`, async () => {
    const [question] = golden.cases;
    const streamed: string[] = [];
    const report = await runDemo({
      chromiumPath: prepareChromium(),
      tabs,
      prompt: question?.user ?? '',
      temperature: 0,
      maxTokens: 128,
      onText: (text) => streamed.push(text),
      onProgress: () => undefined,
    });
    expect(report.tokenIds).toEqual(question?.greedy_ids);
    expect(streamed.join('')).toBe(report.text);
    expect(new Set(report.route.map(({ peer }) => peer)).size).toBe(tabs);
    const layers = report.route.flatMap(({ layerStart, layerEnd }) =>
      Array.from({ length: layerEnd - layerStart }, (_, index) => layerStart + index),
    );
    expect(layers).toEqual(Array.from({ length: layerCount }, (_, layer) => layer));
    expect(report.bytesPerTokenPerHop).toHaveLength(tabs - 1);
    for (const bytes of report.bytesPerTokenPerHop) {
      expect(bytes).toBeGreaterThan(hiddenSize * 2);
      expect(bytes).toBeLessThanOrEqual(MAX_BYTES_PER_TOKEN);
    }
  });
}
