import { Command } from 'commander';
import { numberBetween, wholeNumber } from '../../src/cli/arguments.ts';
import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { prepareChromium } from '../rig/prepare.ts';
import { runDemo } from './demo.ts';

interface Options {
  readonly tabs: number;
  readonly prompt: string;
  readonly temperature: number;
  readonly maxTokens: number;
  readonly json: boolean;
}

const MAX_ANSWER_TOKENS = 1024;

const { tabs, prompt, temperature, maxTokens, json } = new Command('demo')
  .description('One prompt over headless tabs: a server, contributors and a chat page on this machine.')
  .option('--tabs <n>', 'contributor tabs to split the model over', wholeNumber(1, MAX_ROUTE_HOPS), 3)
  .option('--prompt <text>', 'what to ask', 'What is Skein?')
  .option('--temperature <t>', '0 is greedy', numberBetween(0, 100), 0)
  .option('--max-tokens <n>', 'tokens of the answer, at most', wholeNumber(1, MAX_ANSWER_TOKENS), 128)
  .option('--json', 'print one JSON object instead of streaming text', false)
  .parse()
  .opts<Options>();

try {
  const report = await runDemo({
    chromiumPath: prepareChromium(),
    tabs,
    prompt,
    temperature,
    maxTokens,
    onText: (text) => {
      if (!json) process.stdout.write(text);
    },
    onProgress: (line) => console.error(line),
  });
  console.log(json ? JSON.stringify(report) : `\n\n${summary(report)}`);
} catch (thrown) {
  console.error(`demo: ${SkeinError.from(thrown).message}`);
  process.exitCode = 1;
}

function summary({
  route,
  timeToFirstTokenMs,
  tokensPerSecond,
}: Awaited<ReturnType<typeof runDemo>>): string {
  const hops = route.map(
    ({ peer, layerStart, layerEnd }) => `${peer.slice(0, 6)} [${layerStart}, ${layerEnd})`,
  );
  const speed = tokensPerSecond === null ? '' : `, then ${tokensPerSecond.toFixed(1)} tokens per second`;
  return `Layers: ${hops.join(' → ')}\nFirst token after ${Math.round(timeToFirstTokenMs)} ms${speed}.`;
}
