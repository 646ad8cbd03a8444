import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { MemorySource } from '../../fixtures/memory-source.ts';
import type { Golden } from '../../golden/golden-file.ts';

const FOLDER = 'public/models/skein-tiny';
/** golden.json counts the first 512 tokens of each held-out text. */
const HELDOUT_WINDOW_TOKENS = 512;

const read = (name: string) => readFile(`${FOLDER}/${name}`, 'utf8');
const golden = JSON.parse(await read('golden.json')) as Golden;
const tokenizerJson = await read('tokenizer.json');
const tokenizer = await Tokenizer.load(new FolderSource(FOLDER));

const VOCAB_SIZE = 2048;
const anyIds = fc.array(fc.nat(VOCAB_SIZE - 1), { maxLength: 120 });

describe('the tokenizer of skein-tiny', () => {
  it.each(golden.cases)('writes and encodes the prompt "$user" as it was trained', ({ user, prompt_ids }) => {
    const text = tokenizer.renderChat([{ role: 'user', content: user }]);
    expect(tokenizer.encode(text)).toEqual(prompt_ids);
  });

  it.each(golden.cases)('decodes the answer to "$user"', ({ greedy_ids, text }) => {
    expect(tokenizer.decode(greedy_ids, { skipSpecial: false })).toBe(text);
    expect(tokenizer.decode(greedy_ids)).toBe(text.replace('<|im_end|>', ''));
  });

  it('counts the tokens of the held-out texts', () => {
    const counts = golden.heldout.texts.map(
      (text) => tokenizer.encode(text).slice(0, HELDOUT_WINDOW_TOKENS).length - 1,
    );
    expect(counts.reduce((a, b) => a + b, 0)).toBe(golden.heldout.tokens);
  });

  it('gives back the held-out texts', () => {
    const texts = golden.heldout.texts.map((text) =>
      tokenizer.decode(tokenizer.encode(text), { skipSpecial: false }),
    );
    expect(texts).toEqual(golden.heldout.texts);
  });

  it('knows where an answer ends', () => {
    expect(tokenizer.stopTokenIds).toEqual([2047, 2045]);
  });

  it('recognises special tokens in the text and adds none', () => {
    expect(tokenizer.encode('<|im_start|>')).toEqual([2046]);
    expect(tokenizer.encode('')).toEqual([]);
    expect(tokenizer.encode('a')).toHaveLength(1);
  });

  it('gives back any composed text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        // The model was trained on NFC, and encoding composes.
        const composed = text.normalize('NFC');
        expect(tokenizer.decode(tokenizer.encode(composed), { skipSpecial: false })).toBe(composed);
      }),
    );
  });

  it('gives no text for ids without a token', () => {
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([5000, -1, 1e9, 72, 1.5])).toBe('H');
  });

  it('keeps the spaces of the text, whatever stands after them', async () => {
    const source = new MemorySource({
      'tokenizer.json': tokenizerJson,
      'tokenizer_config.json': { clean_up_tokenization_spaces: true },
    });
    const cleaning = await Tokenizer.load(source);
    expect(cleaning.decode(cleaning.encode("let x = [1 , 2] ; it 's ! ok ?"))).toBe(
      "let x = [1 , 2] ; it 's ! ok ?",
    );
  });
});

describe('streamDecoder', () => {
  const hasNoReplacementCharacter = (text: string): boolean => !text.includes('\uFFFD');
  const stream = (ids: readonly number[], skipSpecial: boolean): string[] => {
    const decoder = tokenizer.streamDecoder({ skipSpecial });
    return [...ids.map((id) => decoder.push(id)), decoder.flush()];
  };

  it.each([true, false])('hands out what decode gives for any tokens (skipSpecial %s)', (skipSpecial) => {
    fc.assert(
      fc.property(anyIds, (ids) => {
        expect(stream(ids, skipSpecial).join('')).toBe(tokenizer.decode(ids, { skipSpecial }));
      }),
      { numRuns: 300 },
    );
  });

  it('hands out what decode gives for any bytes', () => {
    // The first 256 tokens are the bytes.
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(255), fc.integer({ min: 0x80, max: 0xff })), { maxLength: 120 }),
        (ids) => {
          expect(stream(ids, true).join('')).toBe(tokenizer.decode(ids));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('never hands out part of a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }).filter(hasNoReplacementCharacter), (text) => {
        const bytes = [...new TextEncoder().encode(text)];
        const pieces = stream(bytes, true);
        expect(pieces.join('')).toBe(text);
        expect(pieces.every(hasNoReplacementCharacter)).toBe(true);
      }),
    );
  });

  it('holds a character back until its last byte', () => {
    expect(stream([...new TextEncoder().encode('é→🙂')], true)).toEqual([
      '',
      'é',
      '',
      '',
      '→',
      '',
      '',
      '',
      '🙂',
      '',
    ]);
  });

  it('gives a broken end when there is no more to come', () => {
    expect(stream([104, 0xf0, 0x9f], true)).toEqual(['h', '', '', '\uFFFD']);
  });

  it('does not hold back what a broken start has in front of it', () => {
    expect(stream([0x80, 0x80, 0x80, 104], true)).toEqual(['', '\uFFFD', '\uFFFD', '\uFFFDh', '']);
  });

  it('decodes no more tokens at a time however long the answer', () => {
    const ids = Array.from({ length: 3000 }, (_, index) => index % 256);
    expect(stream(ids, true).join('')).toBe(tokenizer.decode(ids));
  });
});

describe('SentencePiece models', () => {
  /** As Llama 2 and Mistral have it: spaces are "▁", bytes fall back to <0x..>, the first space is dropped. */
  const vocab = ['<unk>', '<s>', '</s>', '<0xC3>', '<0xA9>', '▁', '▁one', '▁two', 'three', '▁é'];
  const source = new MemorySource({
    'tokenizer.json': {
      version: '1.0',
      added_tokens: [0, 1, 2].map((id) => ({
        id,
        content: vocab[id],
        special: true,
        normalized: false,
        lstrip: false,
        rstrip: false,
        single_word: false,
      })),
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
        ],
      },
      pre_tokenizer: null,
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [],
        special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
        merges: [],
        byte_fallback: true,
        unk_token: '<unk>',
        fuse_unk: true,
      },
    },
    'config.json': { eos_token_id: 2 },
  });

  it('stream the same text as they decode, the first space dropped and every other kept', async () => {
    const llama = await Tokenizer.load(source);
    const words = fc.array(fc.nat(vocab.length - 1), { maxLength: 100 });
    fc.assert(
      fc.property(words, (ids) => {
        const decoder = llama.streamDecoder();
        expect([...ids.map((id) => decoder.push(id)), decoder.flush()].join('')).toBe(llama.decode(ids));
      }),
    );
    expect(llama.decode([1, 6, 7, 8, 3, 4, 2])).toBe('one twothreeé');
    expect(llama.decode([99, 6, -1])).toBe('one');
    expect(llama.stopTokenIds).toEqual([2]);
  });

  it('are not given the start token that their tokenizer.json would add', async () => {
    const llama = await Tokenizer.load(source);
    expect(llama.encode('<s>')).toEqual([1]);
    expect(llama.encode(' ')).not.toContain(1);
  });
});

describe('loading a tokenizer', () => {
  const load = (files: Record<string, string | object>) => Tokenizer.load(new MemorySource(files));

  it('needs tokenizer.json', async () => {
    expect(await refusalOf(() => load({ 'tokenizer_config.json': {} }))).toMatchObject({
      code: 'model-missing',
      data: { file: 'memory/tokenizer.json' },
    });
  });

  it.each(['', 'garbage', '[]', '{}', '7', 'null', '{"model":{"type":"Magic"},"added_tokens":[]}'])(
    'refuses %j for tokenizer.json',
    async (text) => {
      const refusal = await refusalOf(() => load({ 'tokenizer.json': text }));
      expect(refusal).toMatchObject({ code: 'model-corrupt', data: { file: 'memory/tokenizer.json' } });
    },
  );

  it.each([
    ['garbage', undefined],
    ['[]', 'config'],
    ['{"eos_token":5}', 'eos_token'],
    ['{"bos_token":{"text":"<s>"}}', 'bos_token'],
    ['{"chat_template":{}}', 'chat_template'],
  ])('refuses %j for tokenizer_config.json', async (text, field) => {
    const refusal = await refusalOf(() =>
      load({ 'tokenizer.json': tokenizerJson, 'tokenizer_config.json': text }),
    );
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { file: 'memory/tokenizer_config.json' } });
    expect(refusal.data['field']).toBe(field);
  });

  describe('the tokens that end an answer', () => {
    const stops = async (files: Record<string, object>) =>
      (await load({ 'tokenizer.json': tokenizerJson, ...files })).stopTokenIds;
    const endToken = { 'tokenizer_config.json': { eos_token: { content: '<|im_end|>' } } };

    it('come from generation_config.json, then config.json, then the tokenizer', async () => {
      const config = { 'config.json': { eos_token_id: 7 } };
      expect(
        await stops({ ...endToken, ...config, 'generation_config.json': { eos_token_id: [1, 2] } }),
      ).toEqual([1, 2]);
      expect(await stops({ ...endToken, ...config, 'generation_config.json': { eos_token_id: 3 } })).toEqual([
        3,
      ]);
      expect(
        await stops({ ...endToken, ...config, 'generation_config.json': { eos_token_id: null } }),
      ).toEqual([7]);
      expect(await stops({ ...endToken, 'config.json': {} })).toEqual([2047]);
      expect(await stops({ 'tokenizer_config.json': { eos_token: null } })).toEqual([]);
    });

    it.each([-1, 1.5, '2', [2, null], [[2]], new Array<number>(65).fill(1), true])(
      'are refused as %j',
      async (value) => {
        const refusal = await refusalOf(() => stops({ 'generation_config.json': { eos_token_id: value } }));
        expect(refusal).toMatchObject({
          code: 'model-corrupt',
          data: { file: 'memory/generation_config.json', field: 'eos_token_id' },
        });
      },
    );
  });
});
