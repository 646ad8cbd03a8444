import { beforeEach, describe, expect, it } from 'vitest';
import type { ApiModels } from '../../../../src/client/api/api-models.ts';
import { Answers } from '../../../../src/client/connect/answers.ts';
import { chatCompletions, textCompletions } from '../../../../src/client/connect/completions.ts';
import type { AnswerProgress } from '../../../../src/client/connect/progress.ts';
import { Work } from '../../../../src/client/connect/work.ts';
import { deferred } from '../../contributor/fakes.ts';
import { settled } from '../../mesh/local-mesh.ts';
import { CARD, ScriptedMesh } from '../api/scripted-mesh.ts';

const ASKED = { model: CARD.id, messages: [{ role: 'user', content: 'Hello' }], temperature: 0 } as const;
const WORDS = 'one two three four five six seven eight nine ten';

let scripted: ScriptedMesh;
let work: Work;
let told: AnswerProgress[];
let answers: Answers;

function answersOver(open: ApiModels['open']): Answers {
  return new Answers({ models: { list: () => [CARD], open }, work, onProgress: (news) => told.push(news) });
}

beforeEach(() => {
  scripted = new ScriptedMesh(() => WORDS);
  work = new Work();
  told = [];
  answers = answersOver(() => Promise.resolve(scripted.model()));
});

describe('answers', () => {
  it('come whole, with the id that their progress has', async () => {
    const mine: AnswerProgress[] = [];
    const whole = await chatCompletions(answers).create(ASKED, { onProgress: (news) => mine.push(news) });
    expect(whole.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: WORDS } });
    expect(mine).toMatchObject([{ type: 'route', id: whole.id, choice: 0, hops: [{ layerStart: 0 }] }]);
    expect(told).toEqual(mine);
    const text = await textCompletions(answers).create({ model: CARD.id, prompt: 'Once', max_tokens: 3 });
    expect(text.choices[0]?.finish_reason).toBe('length');
    expect(told.at(-1)?.id).toBe(text.id);
    expect(scripted.mesh.openRequests).toBe(0);
  });

  it('come in pieces, and ask for nothing before they are read', async () => {
    const stream = await chatCompletions(answers).create({ ...ASKED, stream: true });
    await settled();
    expect(scripted.opened).toHaveLength(0);
    let content = '';
    const ids = new Set<string>();
    for await (const chunk of stream) {
      ids.add(chunk.id);
      content += chunk.choices[0]?.delta.content ?? '';
    }
    expect(content).toBe(WORDS);
    expect([...ids]).toEqual([told[0]?.id]);
  });

  it('end on every stage when nobody reads on', async () => {
    const stream = await chatCompletions(answers).create({ ...ASKED, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content?.includes('two') === true) break;
    await settled();
    expect(scripted.opened).toHaveLength(1);
    expect(scripted.mesh.openRequests).toBe(0);
  });

  it('end on every stage on abort, also while nobody asks for more', async () => {
    const abort = new AbortController();
    const stream = await chatCompletions(answers).create(
      { ...ASKED, stream: true },
      { signal: abort.signal },
    );
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    expect(scripted.mesh.openRequests).toBeGreaterThan(0);
    abort.abort();
    await settled();
    expect(scripted.mesh.openRequests).toBe(0);
    await expect(iterator.next()).rejects.toMatchObject({ code: 'aborted' });
  });

  it('end with the client', async () => {
    const stream = await chatCompletions(answers).create({ ...ASKED, stream: true });
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    await work.close();
    expect(scripted.mesh.openRequests).toBe(0);
    await expect(iterator.next()).rejects.toMatchObject({ code: 'aborted' });
    await expect(chatCompletions(answers).create(ASKED)).rejects.toMatchObject({ code: 'aborted' });
  });

  it('are not waited for when the signal says so, at whatever it is', async () => {
    const never = deferred<never>();
    const late = answersOver((_id, signal) => {
      signal?.addEventListener('abort', () => never.reject(signal.reason as Error));
      return never.promise;
    });
    const abort = new AbortController();
    const loading = chatCompletions(late).create(ASKED, { signal: abort.signal });
    abort.abort();
    await expect(loading).rejects.toMatchObject({ code: 'aborted' });
    await expect(
      chatCompletions(answers).create(ASKED, { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'aborted' });
    expect(scripted.opened).toHaveLength(0);
  });

  it('come n at a time', async () => {
    const { choices } = await chatCompletions(answers).create({ ...ASKED, n: 3 });
    expect(choices.map(({ message }) => message.content)).toEqual([WORDS, WORDS, WORDS]);
    expect(told.map(({ choice }) => choice)).toEqual([0, 1, 2]);
  });
});
