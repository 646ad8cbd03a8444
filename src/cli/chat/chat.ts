import { createInterface } from 'node:readline';
import type { Interface } from 'node:readline';
import { Command, Option } from 'commander';
import { DEFAULT_TIME_LIMIT_MS, generate } from '../../client/generate.ts';
import type { GenerateEvent } from '../../client/generate.ts';
import { SkeinError } from '../../protocol/errors.ts';
import { MAX_TIME_LIMIT_MS } from '../../protocol/limits.ts';
import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';
import { seconds, wholeNumber } from '../arguments.ts';
import { fingerprintOption, trustFingerprint } from '../certificate-trust.ts';
import { endProcess } from '../end-process.ts';
import { describeConnection } from '../join-states.ts';
import { openMeshClient } from '../mesh-client.ts';
import type { MeshClient } from '../mesh-client.ts';
import { addSamplingOptions, samplingOf } from '../sampling-options.ts';
import type { SamplingOptions } from '../sampling-options.ts';
import { optionalServerArgument } from '../server-argument.ts';
import { colours } from '../terminal.ts';
import { ChatLoop } from './chat-loop.ts';
import type { ChatDeps, ChatScreen, ChatSettings } from './chat-loop.ts';
import { diskFiles } from './chat-files.ts';
import { Interrupts } from './interrupts.ts';
import { jsonScreen, plainScreen } from './screens.ts';
import { SLASH_HELP } from './slash.ts';

const MAX_U32 = 0xffff_ffff;
/** A question that no model could read. */
const MAX_INPUT_CHARACTERS = 4 * 1024 ** 2;

/** What Qwen 3 recommends for chat, as the chat page has it. */
const CHAT_SAMPLING = { temperature: 0.6, topK: 20, topP: 0.95 } as const;

interface ChatOptions extends SamplingOptions {
  readonly model?: string;
  readonly system?: string;
  readonly maxTokens: number;
  /** As milliseconds. */
  readonly timeLimit: number;
  readonly once: boolean;
  readonly fingerprint?: string;
  readonly json: boolean;
}

export function chatCommand(): Command {
  const command = new Command('chat')
    .description('Talk with a model of a mesh in the terminal.')
    .addArgument(optionalServerArgument())
    .option('--model <id>', 'which model answers (default: the first that the server offers)')
    .option('--system <text>', 'what the model is told before everything else')
    .option('--max-tokens <n>', 'tokens of an answer, at most', wholeNumber(1, MAX_U32), 512)
    .addOption(
      new Option('--time-limit <seconds>', 'an answer must be complete by then')
        .argParser(seconds(MAX_TIME_LIMIT_MS))
        .default(DEFAULT_TIME_LIMIT_MS, String(DEFAULT_TIME_LIMIT_MS / 1000)),
    );
  addSamplingOptions(command, CHAT_SAMPLING);
  return command
    .option('--once', 'everything on the standard input is one question', false)
    .addOption(fingerprintOption())
    .option('--json', 'print one JSON object for each answer', false)
    .addHelpText('after', helpText())
    .action(runChat);
}

function helpText(): string {
  const commands = SLASH_HELP.map(([usage, words]) => `  ${usage.padEnd(16)}${words}`).join('\n');
  return `
Prompts and answers go over the machines of the route, encrypted between them, and not through the server.
Without --seed every question has another one. What is piped in is a question for each line; answers are on the standard
output, everything else on the standard error.

In a chat:
${commands}

Examples:
  $ skein chat
  $ skein chat https://mesh.example --model Qwen3-0.6B --system "Answer in one sentence."
  $ printf 'What is Skein?\\nAnd a mesh?\\n' | skein chat --temperature 0
  $ skein chat --once --json < question.txt`;
}

async function runChat(serverUrl: string, options: ChatOptions, command: Command): Promise<void> {
  if (options.topLogprobs > 0) {
    const words = '--top-logprobs is for skein generate --json: a chat shows text.';
    throw new SkeinError('bad-argument', words);
  }
  const over = new AbortController();
  const parts = await trustFingerprint(serverUrl, options.fingerprint, over.signal);
  const stopConnecting = () => over.abort();
  process.once('SIGINT', stopConnecting);
  const client = await openMeshClient(serverUrl, over.signal, parts);
  process.off('SIGINT', stopConnecting);
  const isSeeded = command.getOptionValueSource('seed') !== 'default';
  const screen = screenFor(options);
  const settings = settingsOf(options, client);
  const loop = new ChatLoop(chatDeps(client, screen, options, isSeeded), settings, options.system);
  tellConnection(client, screen);
  if (options.once) await answerOnce(loop);
  else await talk(loop, screen, `${settings.model} at ${serverUrl}`);
  client.dispose();
  await endProcess(loop.failures > 0 && !isTalking() ? 1 : 0);
}

/** Whether a person sits in front of it, and not a program. */
function isTalking(): boolean {
  return process.stdin.isTTY && process.stdout.isTTY;
}

function screenFor({ json }: ChatOptions): ChatScreen {
  if (json) return jsonScreen(process.stdout, process.stderr);
  const notes = isTalking() ? process.stdout : process.stderr;
  return plainScreen(process.stdout, notes, colours(notes));
}

function settingsOf({ model, temperature, maxTokens }: ChatOptions, client: MeshClient): ChatSettings {
  const names = client.models.list().map(({ id }) => id as string);
  const [first] = names;
  if (first === undefined) throw new SkeinError('model-missing', 'The server offers no models.');
  if (model !== undefined && !names.includes(model)) {
    throw new SkeinError('model-missing', `The server offers ${names.join(', ')}, not ${model}.`);
  }
  return { model: model ?? first, temperature, maxTokens };
}

function chatDeps(
  { models }: MeshClient,
  screen: ChatScreen,
  options: ChatOptions,
  isSeeded: boolean,
): ChatDeps {
  return {
    screen,
    files: diskFiles,
    models: () => models.list().map(({ id }) => id),
    async *answer(messages, { model, temperature, maxTokens }, signal): AsyncIterable<GenerateEvent> {
      const { card, deps } = await models.open(model, signal);
      const seed = isSeeded ? options.seed : Math.floor(Math.random() * MAX_U32);
      yield* generate(
        {
          model: card.id,
          prompt: { kind: 'chat', messages },
          maxTokens,
          contextTokens: maxSequenceTokens(card),
          sampling: { ...samplingOf(options), temperature, seed },
          timeLimitMs: options.timeLimit,
        },
        deps,
        signal,
      );
    },
  };
}

function tellConnection({ connection }: MeshClient, screen: ChatScreen): void {
  let isAway = false;
  connection.subscribe((state) => {
    const words = describeConnection(state, isAway);
    isAway = state.phase === 'reconnecting' || state.phase === 'offline';
    if (words !== null) screen.note(words);
  });
}

async function answerOnce(loop: ChatLoop): Promise<void> {
  process.once('SIGINT', () => loop.stop());
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > MAX_INPUT_CHARACTERS) {
      throw new SkeinError('bad-argument', `The input is longer than ${MAX_INPUT_CHARACTERS} characters.`);
    }
  }
  if (text.trim() === '')
    throw new SkeinError('bad-argument', 'The standard input is empty. Pipe a question in.');
  await loop.ask(text.trim());
}

/** Until the input ends, or the person does. */
async function talk(loop: ChatLoop, screen: ChatScreen, what: string): Promise<void> {
  const lines = createInterface({
    input: process.stdin,
    ...(isTalking() && { output: process.stdout, prompt: colours(process.stdout).bold('› ') }),
    terminal: isTalking(),
  });
  const ended = new AbortController();
  const interrupts = interruptsOf(loop, screen, lines, () => ended.abort());
  if (isTalking()) {
    screen.note(`${what}. /help lists what else there is; Ctrl-C stops an answer.`);
    lines.on('SIGINT', () => interrupts.press());
    lines.prompt();
  } else process.on('SIGINT', () => interrupts.press());
  for await (const line of lines) {
    // What is piped in is not written by who presses keys.
    if (isTalking()) interrupts.forget();
    // Lines that came before the end are still given.
    if (ended.signal.aborted || !(await loop.take(line))) break;
    if (isTalking()) lines.prompt();
  }
  lines.close();
}

function interruptsOf(loop: ChatLoop, screen: ChatScreen, lines: Interface, onEnd: () => void): Interrupts {
  return new Interrupts({
    isAnswering: () => loop.isAnswering,
    stopAnswer: () => loop.stop(),
    warn: () => {
      screen.note('Press Ctrl-C again to end.');
      if (isTalking()) lines.prompt();
    },
    end: () => {
      onEnd();
      loop.stop();
      lines.close();
    },
  });
}
