import { describe, expect, it } from 'vitest';
import { generateCommand, requestOf } from '../../../src/cli/generate.ts';
import type { GenerateOptions } from '../../../src/cli/generate.ts';
import { checkMeshOptions } from '../../../src/cli/generate-over-mesh.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';

const PROMPT = { kind: 'ids', ids: [1, 2] } as const;

function parsed(...flags: string[]) {
  const command = generateCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return command.action(() => undefined).parse(flags, { from: 'user' });
}

/** What `skein generate` with these flags would ask for. */
function requestWith(...flags: string[]) {
  const command = parsed(...flags);
  return requestOf(command.opts<GenerateOptions>(), 'm' as ModelId, PROMPT);
}

describe('skein generate', () => {
  it('asks for what its flags say', () => {
    expect(requestWith('--max-tokens', '7', '--time-limit', '2.5', '--temperature', '0.5')).toMatchObject({
      model: 'm',
      prompt: PROMPT,
      maxTokens: 7,
      timeLimitMs: 2500,
      sampling: { temperature: 0.5 },
    });
  });

  it('waits for half an hour where nothing else is said', () => {
    expect(requestWith().timeLimitMs).toBe(30 * 60 * 1000);
  });

  it.each([
    ['0.001', 1],
    ['0.0304', 30],
    ['86400', 86_400_000],
  ])('takes a limit of %s s as whole milliseconds', (text, expected) => {
    expect(requestWith('--time-limit', text).timeLimitMs).toBe(expected);
  });

  it.each(['0', '-1', '86401', 'NaN', 'Infinity', 'soon', ''])('refuses a limit of "%s"', (text) => {
    expect(() => requestWith(`--time-limit=${text}`)).toThrow(/from 0.001 to 86400/);
  });
});

describe('skein generate --server', () => {
  it.each([
    ['--cuts', '3,5'],
    ['--quantize', 'int8'],
    ['--precision', 'f16'],
    ['--cache', 'f16'],
    ['--activations', 'int8'],
    ['--wire', 'f32'],
    ['--prefill-chunk', '8'],
    ['--adapter', 'GPU'],
  ])('refuses %s by its name', (flag, value) => {
    expect(() => checkMeshOptions(parsed('--server', 'localhost', flag, value))).toThrow(`${flag} is about`);
  });

  it('takes what asks for an answer, and says nothing of defaults', () => {
    const command = parsed(
      '--server',
      'localhost',
      '--model',
      'tiny',
      '--chat',
      'Hi',
      '--seed',
      '3',
      '--json',
    );
    expect(() => checkMeshOptions(command)).not.toThrow();
    expect(command.opts()['server']).toBe('http://localhost/');
  });
});
