import { describe, expect, test } from 'vitest';
import { apiProblem } from '../../../../src/client/api/api-problem.ts';
import { noEmbeddings, parseEmbeddingsRequest } from '../../../../src/client/api/embeddings-request.ts';
import type { ModelId } from '../../../../src/protocol/ids.ts';

const parse = (params: object) => parseEmbeddingsRequest({ model: 'skein-tiny', input: 'Hello', ...params });

describe('/v1/embeddings', () => {
  test.each([
    ['Hello', [{ kind: 'text', text: 'Hello' }]],
    [
      ['Hello', 'you'],
      [
        { kind: 'text', text: 'Hello' },
        { kind: 'text', text: 'you' },
      ],
    ],
    [[1, 2], [{ kind: 'ids', ids: [1, 2] }]],
    [
      [[1], [2, 3]],
      [
        { kind: 'ids', ids: [1] },
        { kind: 'ids', ids: [2, 3] },
      ],
    ],
  ])('takes %j', (input, prompts) => {
    expect(parse({ input })).toEqual({
      model: 'skein-tiny',
      prompts,
      encodingFormat: 'float',
      dimensions: null,
    });
  });

  test('takes what the vectors are to be like', () => {
    expect(parse({ encoding_format: 'base64', dimensions: 64 })).toMatchObject({
      encodingFormat: 'base64',
      dimensions: 64,
    });
  });

  test.each([
    [{ input: undefined }, 'input'],
    [{ input: '' }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: 5 }, 'input'],
    [{ input: ['a', 5] }, 'input[1]'],
    [{ input: ['a', ''] }, 'input[1]'],
    [{ input: [1, 'a'] }, 'input[1]'],
    [{ input: [1, -1] }, 'input[1]'],
    [{ input: [[1], []] }, 'input[1]'],
    [{ input: [[1], [0.5]] }, 'input[1][0]'],
    [{ input: Array.from({ length: 2049 }, () => 'a') }, 'input'],
    [{ encoding_format: 'int8' }, 'encoding_format'],
    [{ dimensions: 0 }, 'dimensions'],
    [{ prompt: 'x' }, 'prompt'],
  ])('refuses %o', (params, param) => {
    expect(() => parse(params)).toThrow(expect.objectContaining({ code: 'bad-argument', data: { param } }));
  });

  test('of a model that writes text are refused, by the name of the model', () => {
    const problem = apiProblem(noEmbeddings({ id: 'skein-tiny' as ModelId }));
    expect(problem).toMatchObject({ status: 400, param: 'model' });
    expect(problem.message).toContain('skein-tiny');
  });
});
