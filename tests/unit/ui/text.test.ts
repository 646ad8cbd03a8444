import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { errorWords } from '../../../src/ui/text/error-words.ts';
import {
  countOf,
  formatBytes,
  formatLayers,
  formatSeconds,
  formatTokenRate,
  shortPeer,
} from '../../../src/ui/text/format.ts';
import { SentenceBuffer } from '../../../src/ui/text/sentence-buffer.ts';

describe('format', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [999_600, '1.00 MB'],
    [10_485_760, '10.5 MB'],
    [123_456_789, '123 MB'],
    [4_294_967_296, '4.29 GB'],
    [9e15, '9000 TB'],
  ])('%d bytes are %s', (sizeBytes, text) => expect(formatBytes(sizeBytes)).toBe(text));

  it('keeps three digits of times and rates', () => {
    expect(formatSeconds(421)).toBe('0.42 s');
    expect(formatSeconds(12_340)).toBe('12.3 s');
    expect(formatTokenRate(14.23)).toBe('14.2 tokens/s');
    expect(formatTokenRate(250.4)).toBe('250 tokens/s');
    expect(formatTokenRate(0)).toBe('0 tokens/s');
  });

  it('names layers as people count ranges: both ends included', () => {
    expect(formatLayers(0, 4)).toBe('layers 0–3');
    expect(formatLayers(7, 8)).toBe('layer 7');
  });

  it('counts', () => {
    expect(countOf(1, 'tab')).toBe('1 tab');
    expect(countOf(0, 'tab')).toBe('0 tabs');
    expect(countOf(1234, 'token')).toBe('1,234 tokens');
  });

  it('shortens peers', () => expect(shortPeer('0123456789abcdef0123456789abcdef' as PeerId)).toBe('012345'));
});

describe('errorWords', () => {
  it.each(ERROR_CODES)('%s has a title and advice a person can follow', (code) => {
    const { title, advice } = errorWords(code);
    expect(title).not.toBe('');
    expect(advice).toMatch(/\.$/);
  });
});

describe('SentenceBuffer', () => {
  it('gives whole sentences and holds the rest back', () => {
    const buffer = new SentenceBuffer();
    expect(buffer.push('One')).toBe('');
    expect(buffer.push('One. Tw')).toBe('One. ');
    expect(buffer.push('One. Two! Three')).toBe('Two! ');
    expect(buffer.flush('One. Two! Three')).toBe('Three');
    expect(buffer.flush('One. Two! Three')).toBe('');
  });

  it('does not cut numbers', () => {
    expect(new SentenceBuffer().push('It is 3.14 now')).toBe('');
  });

  it('speaks a long text without full stops in pieces', () => {
    const text = 'word '.repeat(60);
    expect(new SentenceBuffer().push(text).length).toBeGreaterThan(200);
  });

  it('says everything once, whatever the pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', '.', ' ', '\n', '"') })), (pieces) => {
        const buffer = new SentenceBuffer();
        let text = '';
        let spoken = '';
        for (const piece of pieces) {
          text += piece;
          spoken += buffer.push(text);
        }
        expect(spoken + buffer.flush(text)).toBe(text);
      }),
    );
  });
});
