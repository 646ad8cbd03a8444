import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import type { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { sampling } from '../../src/protocol/sampling.ts';
import { answerTokens } from '../golden/answer.ts';
import { asPrompt, GOLDEN_CUTS, GOLDEN_MAX_TOKENS } from '../golden/golden-file.ts';
import { openSkeinTiny } from './skein-tiny.ts';
import type { SkeinTiny } from './skein-tiny.ts';

let tiny: SkeinTiny;
beforeAll(async () => {
  tiny = await openSkeinTiny();
});

describe.each(GOLDEN_CUTS.map((cuts) => ({ cuts })))('greedy tokens, layers cut at $cuts', ({ cuts }) => {
  let mesh: LocalMesh;
  beforeAll(async () => {
    mesh = await tiny.mesh({ cuts });
  });
  afterAll(() => mesh.dispose());

  it('equal the other implementation on every golden case', async () => {
    expect(tiny.golden.cases).toHaveLength(12);
    for (const { user, prompt_ids, greedy_ids } of tiny.golden.cases) {
      const tokens = await answerTokens(mesh, tiny.tokenizer, asPrompt(prompt_ids), GOLDEN_MAX_TOKENS);
      expect(tokens, user).toEqual(greedy_ids);
    }
  });
});

it.each([
  ['a GPU with warps', { subgroupSize: 32, isSoftware: false, usesSubgroups: false, usesF16: false }],
  ['a GPU with subgroups', { isSoftware: false, usesSubgroups: true }],
  ['a CPU without subgroups', { isSoftware: true, usesSubgroups: false }],
])('equal the other implementation when kernels are laid out as on %s', async (_name, changes) => {
  const own = KernelCompiler.of(tiny.gpu.device).tuning;
  const compiler = new KernelCompiler(tiny.gpu.device, { ...own, ...changes });
  expect(own).not.toEqual(compiler.tuning);
  const mesh = await tiny.mesh({ cuts: [4], compiler });
  for (const { user, prompt_ids, greedy_ids } of tiny.golden.cases) {
    const tokens = await answerTokens(mesh, tiny.tokenizer, asPrompt(prompt_ids), GOLDEN_MAX_TOKENS);
    expect(tokens, user).toEqual(greedy_ids);
  }
  mesh.dispose();
});

describe('company', () => {
  it.each([1, 16, 64, 512])(
    'does not change the tokens of anyone in a batch of 8, prompts in chunks of %i',
    async (prefillChunkRows) => {
      const mesh = await tiny.mesh({ cuts: [4], prefillChunkRows });
      try {
        // The first cases have prompts of 11 to 19 tokens; the last two carry a history of over 64.
        const [first, second] = tiny.golden.cases;
        const history = tiny.golden.heldout.texts.slice(0, 2).map((text) => tiny.tokenizer.encode(text));
        const prompts = [
          ...tiny.golden.cases.slice(0, 6).map(({ prompt_ids }) => prompt_ids),
          ...[first, second].map((each, index) => [...(history[index] ?? []), ...(each?.prompt_ids ?? [])]),
        ];
        expect(new Set(prompts.map(({ length }) => length)).size).toBeGreaterThan(4);
        expect(Math.max(...prompts.map(({ length }) => length))).toBeGreaterThan(64);
        const alone: (readonly number[])[] = [];
        for (const prompt of prompts) {
          alone.push(await answerTokens(mesh, tiny.tokenizer, asPrompt(prompt), 24));
        }
        const together = await Promise.all(
          prompts.map((prompt) => answerTokens(mesh, tiny.tokenizer, asPrompt(prompt), 24)),
        );
        expect(together).toEqual(alone);
        tiny.golden.cases.slice(0, 6).forEach(({ greedy_ids }, index) => {
          expect(alone[index]).toEqual(greedy_ids.slice(0, 24));
        });
      } finally {
        mesh.dispose();
      }
    },
  );

  it('does not change what a seed draws', async () => {
    const mesh = await tiny.mesh({ cuts: [2, 5] });
    const params = sampling({ temperature: 1.5, topP: 0.98 });
    const prompts = tiny.golden.cases.slice(0, 4).map(({ prompt_ids }) => asPrompt(prompt_ids));
    const answer = (index: number, seed: number) =>
      answerTokens(mesh, tiny.tokenizer, prompts[index] ?? asPrompt([]), 16, { ...params, seed });
    const alone = await answer(0, 7);
    const [again, ...others] = await Promise.all([answer(0, 7), answer(0, 8), answer(1, 7), answer(2, 7)]);
    mesh.dispose();
    expect(again).toEqual(alone);
    for (const other of others) expect(other).not.toEqual(alone);
  });
});
