import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiMesh } from '../api/api-mesh.ts';
import { serverMetric } from '../api/server-figures.ts';
import { growthsOf, MemoryWatch, summarizeLife } from '../chaos/memory-watch.ts';
import type { Golden } from '../golden/golden-file.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import type { BenchOptions } from './bench-command.ts';
import { streamAnswer } from './gateway-client.ts';
import type { StreamedAnswer } from './gateway-client.ts';
import { openBenchDevice } from './gpu.ts';
import { atLeast, atMost, benchReport, exactly } from './report.ts';
import type { BenchReport } from './report.ts';
import { median } from './timing.ts';

const STAGES = 3;
const CLIENTS = 64;
/** Every answer has exactly so many: tokens per second of two clients compare. */
const ANSWER_TOKENS = 48;
/** What the chaos run holds processes to. */
const MAX_GROWTH = 1.5;

interface GatewayBenchOptions extends BenchOptions {
  readonly seconds: number;
}

/** Many programs that stream answers over HTTP at a time, and what the server takes for it. */
export async function run({ driver, seconds, onProgress }: GatewayBenchOptions): Promise<BenchReport> {
  const adapterName = await nameOfAdapter();
  onProgress(`Starting a server and ${STAGES} peers …`);
  const vulkanDriver = driver === 'native' ? null : (process.env['VK_ICD_FILENAMES'] ?? null);
  const mesh = await ApiMesh.open({ stages: STAGES, vulkanDriver, onWords: onProgress });
  try {
    return await measure(mesh, adapterName, seconds, onProgress);
  } finally {
    await mesh.dispose();
  }
}

async function measure(
  mesh: ApiMesh,
  adapterName: string,
  seconds: number,
  onProgress: (line: string) => void,
): Promise<BenchReport> {
  const { url } = mesh.server;
  const questions = await differentQuestions();
  const ask = (question: string) =>
    streamAnswer(url, { question, answerTokens: ANSWER_TOKENS, signal: AbortSignal.timeout(600_000) });
  await Promise.all(questions.slice(0, STAGES).map(ask));

  onProgress(`Asking ${CLIENTS} questions, one after another …`);
  const sequential = await observed(url, async () => {
    const answers: StreamedAnswer[] = [];
    for (const question of questions) answers.push(await ask(question));
    return answers;
  });

  onProgress(`Asking them at a time, again and again, for ${seconds} s …`);
  const watch = new MemoryWatch(new Map([['server', () => mesh.server.pid]]));
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  const errors: string[] = [];
  const together = await observed(url, async () => {
    const perClient = await Promise.all(questions.map((question) => askUntil(endMs, question, ask, errors)));
    return perClient.flat();
  });
  watch.stop();
  const runMs = performance.now() - startMs;

  const expected = new Map(questions.map((question, index) => [question, sequential.answers[index]?.text]));
  const differing = together.answers.filter(({ question, text }) => text !== expected.get(question)).length;
  const rates = questions.map((question) => {
    const own = together.answers.filter((answer) => answer.question === question);
    const tokens = own.reduce((sum, answer) => sum + answer.tokens, 0);
    return tokens / own.reduce((sum, answer) => sum + (answer.endMs - answer.startMs) / 1000, 0);
  });
  const fairness = Math.min(...rates) / Math.max(...rates);
  const memory = watch.lives.flatMap((life) => summarizeLife(life, runMs) ?? []);
  const growth = Math.max(...(memory.length > 0 ? growthsOf(memory) : [NaN]));
  for (const error of new Set(errors)) onProgress(`error: ${error}`);

  return benchReport(
    'gateway',
    adapterName,
    [
      {
        title: `${CLIENTS} questions over HTTP, streamed answers of ${ANSWER_TOKENS} tokens, a mesh of ${STAGES} stages on one machine`,
        rows: [sequential, together].map((part, index) => ({
          questions: index === 0 ? 'one after another' : `${CLIENTS} at a time`,
          answers: part.answers.length,
          seconds: part.seconds,
          'tokens/s': part.tokens / part.seconds,
          'median ms to first token': median(
            part.answers.map(({ firstTokenMs, startMs: askedMs }) => firstTokenMs - askedMs),
          ),
          'server CPU ms per token': (part.cpuSeconds * 1000) / part.tokens,
          'server CPU share of one core': part.cpuSeconds / part.seconds,
        })),
      },
      {
        title: `tokens per second of a client, of ${CLIENTS}`,
        rows: [{ slowest: Math.min(...rates), median: median(rates), fastest: Math.max(...rates) }],
      },
      {
        title: 'memory of the server, MiB',
        rows: memory.map(({ startBytes, steadyBytes, peakBytes, endBytes }) => ({
          start: mib(startBytes),
          warm: mib(steadyBytes),
          peak: mib(peakBytes),
          end: mib(endBytes),
        })),
      },
    ],
    [
      exactly('errors', errors.length, 0),
      exactly('answers that differ from those one after another', differing, 0),
      atLeast('tokens per second of the slowest client / of the fastest', fairness, 0.5),
      atMost('memory of the server, end / warm', growth, MAX_GROWTH),
      atLeast(
        'throughput at a time / one after another',
        together.tokens / together.seconds / (sequential.tokens / sequential.seconds),
        3,
      ),
    ],
  );
}

interface Observed {
  readonly answers: readonly StreamedAnswer[];
  readonly seconds: number;
  readonly tokens: number;
  /** Of the server's process: HTTP, the gateway, and the signaling beside it. */
  readonly cpuSeconds: number;
}

async function observed(url: string, action: () => Promise<readonly StreamedAnswer[]>): Promise<Observed> {
  const cpuBefore = await serverMetric(url, 'process_cpu_seconds_total');
  const startMs = performance.now();
  const answers = await action();
  const elapsedMs = performance.now() - startMs;
  const cpuAfter = await serverMetric(url, 'process_cpu_seconds_total');
  return {
    answers,
    seconds: elapsedMs / 1000,
    tokens: answers.reduce((sum, { tokens }) => sum + tokens, 0),
    cpuSeconds: cpuAfter - cpuBefore,
  };
}

/** One client: asks again as soon as it has its answer. An answer that was begun in time is waited for. */
async function askUntil(
  endMs: number,
  question: string,
  ask: (question: string) => Promise<StreamedAnswer>,
  errors: string[],
): Promise<StreamedAnswer[]> {
  const answers: StreamedAnswer[] = [];
  do {
    try {
      answers.push(await ask(question));
    } catch (thrown) {
      errors.push(String(thrown));
    }
  } while (performance.now() < endMs);
  return answers;
}

/** The golden questions, with a number each, so that no two prompts are the same. */
async function differentQuestions(): Promise<string[]> {
  const { cases } = JSON.parse(await readFile(join(EMBEDDED_MODEL, 'golden.json'), 'utf8')) as Golden;
  return Array.from(
    { length: CLIENTS },
    (_, index) => `${index}. ${cases[index % cases.length]?.user ?? ''}`,
  );
}

async function nameOfAdapter(): Promise<string> {
  const device = await openBenchDevice();
  device.device.destroy();
  return device.adapterName;
}

function mib(bytes: number): number {
  return bytes / 1024 ** 2;
}
