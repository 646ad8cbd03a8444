import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { tokenSpelling } from '../../../src/tokenizer/token-bytes.ts';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';

const tiny = await Tokenizer.load(new FolderSource('public/models/skein-tiny'));
const bytesOf = (ids: readonly number[]) => ids.flatMap((id) => [...(tiny.tokenBytes(id) ?? [])]);

describe('the bytes of tokens', () => {
  it('are, in a byte-level vocabulary, those of the text, in which tokens may end inside a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const composed = text.normalize('NFC');
        expect(bytesOf(tiny.encode(composed))).toEqual([...new TextEncoder().encode(composed)]);
      }),
    );
    expect(bytesOf(Array.from({ length: 256 }, (_, id) => id))).toEqual(
      Array.from({ length: 256 }, (_, b) => b),
    );
  });

  it('are the written form of an added token', () => {
    expect(new TextDecoder().decode(tiny.tokenBytes(2047) ?? undefined)).toBe('<|im_end|>');
    expect(tiny.isSpecial(2047)).toBe(true);
    expect(tiny.isSpecial(72)).toBe(false);
  });

  it('are none for an id without a token', () => {
    expect(tiny.tokenBytes(2048)).toBeNull();
    expect(tiny.tokenBytes(-1)).toBeNull();
  });

  it('have spaces for their marks, and single bytes, in a SentencePiece vocabulary', () => {
    const spelled = tokenSpelling({
      decoder: {
        type: 'Sequence',
        decoders: [{ type: 'Replace' }, { type: 'ByteFallback' }, { type: 'Fuse' }],
      },
    });
    expect([...spelled('▁é')]).toEqual([32, 0xc3, 0xa9]);
    expect([...spelled('<0xC3>')]).toEqual([0xc3]);
    expect([...spelled('<0xC3')]).toEqual([...new TextEncoder().encode('<0xC3')]);
  });

  it.each([undefined, {}, { decoder: null }, { decoder: { type: 'Sequence', decoders: [7, {}] } }])(
    'are those of its letters where nothing is said: %j',
    (json) => {
      expect([...tokenSpelling(json)('▁a<0x0A>')]).toEqual([...new TextEncoder().encode('▁a<0x0A>')]);
    },
  );
});

describe('marks', () => {
  it('are known where the vocabulary or the template has them', () => {
    expect(tiny.knowsMark('<tool_call>')).toBe(true);
    expect(tiny.knowsMark('<|endoftext|>')).toBe(true);
    expect(tiny.knowsMark('<think>')).toBe(false);
    expect(tiny.templateMentions('enable_thinking')).toBe(false);
  });

  it('are shown where they are asked for, in a stream as at once', () => {
    const ids = [72, 2046, 72, 2047];
    const options = { shownMarks: ['<|im_start|>', '<none>'] };
    expect(tiny.decode(ids, options)).toBe('H<|im_start|>H');
    const decoder = tiny.streamDecoder(options);
    expect([...ids.map((id) => decoder.push(id)), decoder.flush()].join('')).toBe('H<|im_start|>H');
  });
});
