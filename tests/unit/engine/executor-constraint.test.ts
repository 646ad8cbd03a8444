import { describe, expect, it } from 'vitest';
import type { AnswerConstraint, ConstraintQuestion } from '../../../src/engine/answer-constraint.ts';
import { hasBit } from '../../../src/engine/bit-mask.ts';
import { Executor } from '../../../src/engine/executor.ts';
import { ADJUSTMENT_FLAG } from '../../../src/engine/kernels/sample-rows.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';
import { sampling } from '../../../src/protocol/sampling.ts';
import type { OpenRequest, StageOutput } from '../../../src/protocol/stage.ts';
import { openRequest, requestId, settled } from './executor-route.ts';
import { expectedAnswer, RecordingSlice } from './recording-slice.ts';

const CONSTRAINT = { structuralTag: 'digits', answer: [] };
const STOP = 3;

/** Lets exactly the tokens come next that it is told, and keeps what it is told. */
class ScriptedConstraint implements AnswerConstraint {
  readonly accepted: number[] = [];
  isDisposed = false;
  /** What an `accept` waits for. */
  step: () => Promise<void> = () => Promise.resolve();

  constructor(
    readonly question: ConstraintQuestion,
    private readonly allowed: readonly number[] = [],
  ) {}

  /** The first word counts tokens, so that a batch shows which mask it had. */
  mask(): Uint32Array<ArrayBuffer> {
    const mask = Uint32Array.of(0, 1 + this.accepted.length);
    for (const id of this.allowed) mask[0] = (mask[0] ?? 0) | (1 << id);
    if (this.allowed.length > 0) mask[1] = 0;
    return mask;
  }

  async accept(tokenId: number): Promise<void> {
    await this.step();
    this.accepted.push(tokenId);
  }

  dispose(): void {
    this.isDisposed = true;
  }
}

interface Rig {
  readonly executor: Executor;
  readonly slice: RecordingSlice;
  readonly made: ScriptedConstraint[];
  readonly outputs: StageOutput[];
  /** What compiling waits for. */
  compiling: () => Promise<void>;
  allowed: readonly number[];
  /** Tokens of each answer. */
  length: number;
}

/** Feeds every token back, as the ring does. */
function rigOf(blocks = 80, hasHead = true): Rig {
  const slice = new RecordingSlice(blocks, { hasHead });
  const made: ScriptedConstraint[] = [];
  const outputs: StageOutput[] = [];
  const executor = new Executor(slice, {
    constraints: async (question) => {
      await rig.compiling();
      const constraint = new ScriptedConstraint(question, rig.allowed);
      made.push(constraint);
      return constraint;
    },
  });
  const compiling = () => Promise.resolve();
  const rig: Rig = { executor, slice, made, outputs, compiling, allowed: [], length: 4 };
  executor.onStep = (step) => {
    for (const output of step) {
      outputs.push(output);
      if (output.kind !== 'token') continue;
      const { requestId: id, position, tokenId } = output;
      const count = outputs.filter((other) => other.kind === 'token' && other.requestId === id).length;
      if (count === rig.length) executor.close(id);
      else executor.push(id, position, { kind: 'tokens', tokenIds: Uint32Array.of(tokenId) });
    }
    return Promise.resolve();
  };
  return rig;
}

function ask(
  { executor, length }: Rig,
  index: number,
  prompt: readonly number[],
  changes: Partial<OpenRequest> = {},
) {
  const id = requestId(index);
  executor.open(openRequest(id, prompt.length, length, { constraint: CONSTRAINT, ...changes }));
  executor.push(id, 0, { kind: 'tokens', tokenIds: Uint32Array.from(prompt) });
  return id;
}

function tokensOf({ outputs }: Rig, id: RequestId): number[] {
  return outputs.flatMap((output) =>
    output.kind === 'token' && output.requestId === id ? [output.tokenId] : [],
  );
}

/** The heads of all passes that sampled with a mask, in order. */
function masksOf({ slice }: Rig): Uint32Array[] {
  return slice.batches.flatMap(({ sequences }) =>
    sequences.flatMap(({ head }) => (head.kind === 'sample' && head.mask ? [head.mask] : [])),
  );
}

function gate(): { readonly wait: () => Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { wait: () => opened, open };
}

describe('a request with a constraint', () => {
  it('waits until it is compiled, while others go on', async () => {
    const rig = rigOf();
    const compile = gate();
    rig.compiling = compile.wait;
    const bound = ask(rig, 1, [1, 2, 3]);
    const free = ask(rig, 2, [4, 5], { constraint: null });
    await settled();
    expect(tokensOf(rig, free)).toEqual(expectedAnswer([4, 5], 4));
    expect(rig.slice.batches.flatMap(({ sequences }) => sequences)).toHaveLength(4);
    expect(masksOf(rig)).toEqual([]);

    compile.open();
    await settled();
    expect(tokensOf(rig, bound)).toEqual(expectedAnswer([1, 2, 3], 4));
  });

  it('is sampled with the mask after each of its tokens, and with no earlier one', async () => {
    const rig = rigOf();
    const id = ask(rig, 1, [1, 2, 3]);
    await settled();
    expect(masksOf(rig).map((mask) => mask[1])).toEqual([1, 2, 3, 4]);
    expect(rig.made[0]?.accepted).toEqual(tokensOf(rig, id).slice(0, 3));

    const slow = rigOf();
    ask(slow, 1, [1, 2, 3]);
    const step = gate();
    slow.compiling = () => Promise.resolve();
    await Promise.resolve();
    const [constraint] = slow.made;
    if (constraint === undefined) throw new Error('It was compiled.');
    constraint.step = step.wait;
    await settled();
    expect(slow.outputs).toHaveLength(1);
    step.open();
    await settled();
    expect(masksOf(slow).map((mask) => mask[1])).toEqual([1, 2, 3, 4]);
  });

  it('goes on after the answer so far, and with the stop tokens of the request', async () => {
    const rig = rigOf();
    const constraint = { structuralTag: 'digits', answer: [7, 8] };
    ask(rig, 1, [1, 2, 7, 8], { constraint, stopTokenIds: [STOP] });
    await settled();
    expect(rig.made.map(({ question }) => question)).toEqual([
      { structuralTag: 'digits', answer: [7, 8], stopTokenIds: [STOP] },
    ]);
  });

  it('keeps its constraint when its blocks are taken, and is not asked for a token twice', async () => {
    const rig = rigOf(7);
    rig.length = 60;
    const prompts = [0, 1, 2].map((index) => Array.from({ length: 14 }, (_, token) => 40 * index + token));
    const ids = prompts.map((prompt, index) => ask(rig, index, prompt));
    for (let turn = 0; turn < 300; turn += 1) await settled();
    expect(rig.executor.stats.preemptions).toBeGreaterThan(0);
    expect(rig.made).toHaveLength(3);
    ids.forEach((id, index) => {
      expect(tokensOf(rig, id)).toEqual(expectedAnswer(prompts[index] ?? [], rig.length));
      expect(rig.made[index]?.accepted).toEqual(tokensOf(rig, id).slice(0, -1));
    });
  });

  it('fails alone when it cannot be compiled', async () => {
    const rig = rigOf();
    rig.compiling = () => Promise.reject(new SkeinError('bad-argument', 'no grammar'));
    const bound = ask(rig, 1, [1, 2, 3]);
    const free = ask(rig, 2, [4, 5], { constraint: null });
    await settled();
    const failed = rig.outputs.filter(({ kind }) => kind === 'failed');
    expect(failed).toMatchObject([{ requestId: bound, error: { code: 'bad-argument' } }]);
    expect(tokensOf(rig, free)).toEqual(expectedAnswer([4, 5], 4));
  });

  it('fails alone when nothing is left to go on with', async () => {
    const rig = rigOf();
    const bound = ask(rig, 1, [1, 2, 3]);
    const free = ask(rig, 2, [4, 5], { constraint: null });
    await Promise.resolve();
    const [constraint] = rig.made;
    if (constraint === undefined) throw new Error('It was compiled.');
    constraint.step = () => Promise.reject(new SkeinError('bad-argument', 'nothing left'));
    await settled();
    expect(tokensOf(rig, bound).length).toBeLessThan(2);
    expect(rig.outputs.filter(({ kind }) => kind === 'failed')).toMatchObject([
      { requestId: bound, error: { message: 'nothing left' } },
    ]);
    expect(tokensOf(rig, free)).toHaveLength(4);
  });

  it('fails alone when biases ban all that its constraint leaves', async () => {
    const rig = rigOf();
    rig.allowed = [5, 6];
    const params = sampling({
      logitBias: [
        [5, -100],
        [6, -100],
      ],
    });
    const bound = ask(rig, 1, [1, 2, 3], { sampling: params });
    const free = ask(rig, 2, [4, 5], { constraint: null });
    await settled();
    expect(rig.outputs.filter(({ kind }) => kind === 'failed')).toMatchObject([
      { requestId: bound, error: { code: 'bad-argument', data: { field: 'constraint' } } },
    ]);
    expect(tokensOf(rig, free)).toHaveLength(4);
  });

  it('may end before its least length where the constraint wants it to, and not where it need not', async () => {
    for (const [allowed, isBanned] of [
      [[STOP], false],
      [[STOP, 9], true],
    ] as const) {
      const rig = rigOf();
      rig.allowed = allowed;
      ask(rig, 1, [1, 2, 3], { sampling: sampling({ minTokens: 10 }), stopTokenIds: [STOP] });
      await settled();
      const [head] = rig.slice.batches.flatMap(({ sequences }) => sequences.map((sequence) => sequence.head));
      if (head?.kind !== 'sample' || !head.mask) throw new Error('It is sampled with a mask.');
      expect(hasBit(head.mask, STOP)).toBe(true);
      const [id, , flags = 0] = head.adjustments ?? [];
      expect(id).toBe(STOP);
      expect((flags & ADJUSTMENT_FLAG.banned) !== 0).toBe(isBanned);
    }
  });

  it('is refused by a stage that cannot constrain, and ignored by one that does not sample', () => {
    const request = openRequest(requestId(1), 3, 4, { constraint: CONSTRAINT });
    expect(() => new Executor(new RecordingSlice(80)).open(request)).toThrow(/cannot constrain/);
    expect(() => new Executor(new RecordingSlice(80, { hasHead: false })).open(request)).not.toThrow();
  });

  it('gives its constraint back when it is closed, also before it is compiled', async () => {
    const rig = rigOf();
    ask(rig, 1, [1, 2, 3]);
    await settled();
    expect(rig.made.map(({ isDisposed }) => isDisposed)).toEqual([true]);

    const compile = gate();
    rig.compiling = compile.wait;
    const id = ask(rig, 2, [1, 2, 3]);
    await settled();
    rig.executor.close(id);
    compile.open();
    await settled();
    expect(rig.made.map(({ isDisposed }) => isDisposed)).toEqual([true, true]);
    expect(tokensOf(rig, id)).toEqual([]);
  });
});
