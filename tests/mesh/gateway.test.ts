import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GatewaySession } from '../../src/cli/gateway-session.ts';
import { answerChats } from '../../src/client/api/answer-chat.ts';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { ServedStage } from '../../src/mesh/served-stage.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import { createLog } from '../../signaling/log.ts';
import { startServer } from '../../signaling/server.ts';
import type { RunningServer } from '../../signaling/server.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import { AddingMachine, expectedTokens } from '../unit/mesh/adding-machine.ts';
import { card } from '../unit/signaling/scheduler/instances.ts';
import { JOIN } from '../unit/signaling/server-rig.ts';

const MODEL = 'skein-tiny' as ModelId;
const LAYERS = 3;
const LONG = 1500;

interface Stage {
  readonly machine: AddingMachine;
  readonly served: ServedStage;
}

let server: RunningServer;
let gateway: GatewaySession;
let tokenizer: Tokenizer;
const logLines: string[] = [];
const sessions: LiveSession[] = [];
const stages: Stage[] = [];

/** Serves whatever layers it is given. */
async function join(): Promise<void> {
  const session = await openNodeSession(server.url, new AbortController().signal);
  sessions.push(session);
  const { signaling, transport } = session;
  await new Promise<void>((resolve) => {
    signaling.on('assign', ({ model, layerStart, layerEnd }) => {
      const machine = new AddingMachine({ layerStart, layerEnd, layerCount: LAYERS });
      const range = { layerStart, layerEnd, wireFormat: 'f16' as const };
      stages.push({ machine, served: new ServedStage({ transport, executor: machine, model, ...range }) });
      signaling.send({ type: 'serving', model, layerStart, layerEnd });
      resolve();
    });
    signaling.send(JOIN);
    if (sessions.length < LAYERS) resolve();
  });
}

/** A prompt after which the machine goes on for long. */
function promptOf(tokens: number): number[] {
  for (let first = 1; first < 1000; first += 1) {
    const prompt = [first, 20, 30];
    const answer = expectedTokens(prompt, LAYERS, tokens);
    if (!answer.some((token) => tokenizer.stopTokenIds.includes(token))) return prompt;
  }
  throw new Error('Every prompt ends early.');
}

function ask(body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL, temperature: 0, ...body }),
    ...(signal && { signal }),
  });
}

const openRequests = () =>
  stages.reduce((sum, { machine, served }) => sum + machine.openSequences + served.activeRequests, 0);
const health = async () => (await (await fetch(`${server.url}/healthz`)).json()) as Record<string, unknown>;

beforeEach(async () => {
  logLines.length = 0;
  tokenizer = await Tokenizer.load(new FolderSource(EMBEDDED_MODEL));
  gateway = new GatewaySession();
  const urlPath = `/models/${MODEL}/`;
  server = await startServer({
    host: '127.0.0.1',
    port: 0,
    models: [card({ id: MODEL, url: urlPath, layerCount: LAYERS })],
    roots: [{ urlPath, folder: EMBEDDED_MODEL }],
    stages: LAYERS,
    log: createLog('info', (line) => logLines.push(line)),
    gateway: { models: gateway.models, answer: answerChats },
    isGateway: gateway.isSelf,
  });
  gateway.open(server.url);
  for (let count = 0; count < LAYERS; count += 1) await join();
  await vi.waitFor(async () => expect(await health()).toMatchObject({ covered: [MODEL] }), 10_000);
});

afterEach(async () => {
  gateway.dispose();
  for (const { served } of stages.splice(0)) served.dispose();
  for (const session of sessions.splice(0)) session.dispose();
  await server.close();
});

describe('the gateway of a server', () => {
  it('answers over three peers, and leaves nothing open', async () => {
    const prompt = promptOf(20);
    const response = await ask({ prompt, max_tokens: 20 });
    const body = (await response.json()) as { choices: { text: string }[]; usage: object };
    expect(body.choices[0]?.text).toBe(tokenizer.decode(expectedTokens(prompt, LAYERS, 20)));
    expect(body.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 20 });
    await vi.waitFor(() => expect(openRequests()).toBe(0));
    expect(stages).toHaveLength(LAYERS);
  });

  it.each([[true], [false]])(
    'gives up what a client that goes away asked for, on every stage; stream: %s',
    async (stream) => {
      const gone = new AbortController();
      const asked = ask({ prompt: promptOf(LONG), max_tokens: LONG, stream }, gone.signal);
      await vi.waitFor(
        () => expect(stages.every(({ machine }) => machine.rowsComputed > 5)).toBe(true),
        10_000,
      );
      expect(openRequests()).toBe(2 * LAYERS);
      gone.abort();
      await expect(asked.then((response) => response.text())).rejects.toThrow();
      await vi.waitFor(() => expect(openRequests()).toBe(0), 5_000);
      await vi.waitFor(async () => expect(await health()).toMatchObject({ requests: 0, queued: 0 }), 5_000);
      for (const { machine } of stages) expect(machine.rowsComputed).toBeLessThan(LONG);
      expect(logLines.filter((line) => line.startsWith('api '))).toEqual([
        expect.stringContaining('status=499 error=aborted'),
      ]);
    },
  );

  it('asks for more at a time than one client may, and all are answered', async () => {
    const prompt = promptOf(4);
    const expected = tokenizer.decode(expectedTokens(prompt, LAYERS, 4));
    const responses = await Promise.all(
      Array.from({ length: 300 }, () => ask({ prompt, max_tokens: 4, stream: false })),
    );
    expect(responses.map(({ status }) => status)).toEqual(responses.map(() => 200));
    for (const response of responses) {
      expect(await response.json()).toMatchObject({ choices: [{ text: expected }] });
    }
    expect(openRequests()).toBe(0);
  });
});
