import type * as Threads from 'node:worker_threads';
import type { GrammarAnswer, GrammarCommand } from './grammar-messages.ts';

/** The two ends of a worker of grammars, wherever it runs. */
export interface GrammarPort {
  postMessage(commands: readonly GrammarCommand[]): void;
  onAnswers: (answers: readonly GrammarAnswer[]) => void;
  /** The worker is gone, or never came. */
  onFailure: (reason: string) => void;
  /** Whether the process waits for it; it does not, where it cannot say so. */
  keepAlive(isWanted: boolean): void;
  terminate(): void;
}

/** What the other end of a port is, in a worker. */
export interface GrammarScope {
  post(answers: readonly GrammarAnswer[], transfer: readonly ArrayBuffer[]): void;
  listen(onCommands: (commands: readonly GrammarCommand[]) => void): void;
}

/** In Node this has no types to strip, so that a thread can begin with it. Not written out, or bundlers would take it along. */
const THREAD_FILE = './grammar-thread.mjs';

/** A worker of its own, which is loaded when it starts: in browsers a Worker, in Node a thread. */
export function startGrammarPort(): GrammarPort {
  const { process: node } = globalThis as { process?: NodeJS.Process };
  // As a method, and not as an import: there is no such module in browsers, nor for those who bundle for them.
  return node === undefined ? browserPort() : threadPort(node.getBuiltinModule('node:worker_threads'));
}

function browserPort(): GrammarPort {
  const worker = new Worker(new URL('./grammar-worker.ts', import.meta.url), {
    type: 'module',
    name: 'skein-grammar',
  });
  const port: GrammarPort = {
    postMessage: (commands) => worker.postMessage(commands),
    onAnswers: () => undefined,
    onFailure: () => undefined,
    keepAlive: () => undefined,
    terminate: () => worker.terminate(),
  };
  worker.onmessage = ({ data }: MessageEvent<readonly GrammarAnswer[]>) => port.onAnswers(data);
  worker.onerror = ({ message }) => port.onFailure(message || 'its program did not load');
  return port;
}

function threadPort({ Worker }: typeof Threads): GrammarPort {
  const thread = new Worker(new URL(THREAD_FILE, import.meta.url), { execArgv: [] });
  const port: GrammarPort = {
    postMessage: (commands) => thread.postMessage(commands),
    onAnswers: () => undefined,
    onFailure: () => undefined,
    keepAlive: (isWanted) => (isWanted ? thread.ref() : thread.unref()),
    terminate: () => void thread.terminate(),
  };
  thread.on('message', (answers: readonly GrammarAnswer[]) => port.onAnswers(answers));
  thread.on('error', (error) => port.onFailure(error.message));
  thread.on('exit', (code) => port.onFailure(`its thread ended with code ${code}`));
  thread.unref();
  return port;
}
