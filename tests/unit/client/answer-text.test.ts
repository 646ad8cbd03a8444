import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerText } from '../../../src/client/answer-text.ts';

/** Token id = UTF-16 code unit, except 0, which ends half a character: the decoder holds it back until the next push. */
const tokenizer = {
  streamDecoder() {
    let held = '';
    return {
      push(id: number): string {
        if (id === 0) {
          held = '…';
          return '';
        }
        const piece = held + String.fromCharCode(id);
        held = '';
        return piece;
      },
      flush: (): string => held,
    };
  },
};

function stream(answer: AnswerText, text: string): string[] {
  const shown = Array.from(text, (character) => answer.push(character.charCodeAt(0)));
  return [...shown, answer.flush()];
}

describe('AnswerText', () => {
  it('cuts before the first stop string, even when it came over several tokens', () => {
    const answer = new AnswerText(tokenizer, ['END', 'ND!']);
    expect(stream(answer, 'the END!').join('')).toBe('the ');
    expect(answer.stopped).toBe(true);
    expect(answer.text).toBe('the ');
  });

  it('holds back what may begin a stop string and shows it once it cannot', () => {
    const answer = new AnswerText(tokenizer, ['abc']);
    expect(stream(answer, 'xaby')).toEqual(['x', '', '', 'aby', '']);
    expect(answer.stopped).toBe(false);
  });

  it('shows at the end what was held back', () => {
    const answer = new AnswerText(tokenizer, ['abc']);
    expect(stream(answer, 'xab')).toEqual(['x', '', '', 'ab']);
    expect(answer.push(0)).toBe('');
    expect(answer.flush()).toBe('…');
  });

  it('ignores empty stop strings and shows everything without any', () => {
    expect(stream(new AnswerText(tokenizer, ['']), 'hi')).toEqual(['h', 'i', '']);
  });

  it('shows exactly the text before the first stop string, whatever the strings', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(letters, stops, (text, stopStrings) => {
        const answer = new AnswerText(tokenizer, stopStrings);
        // The reference looks at every prefix, as a reader of the stream would.
        let expected = text;
        for (let end = 1; end <= text.length; end++) {
          const starts = stopStrings
            .map((stop) => text.slice(0, end).indexOf(stop))
            .filter((start) => start >= 0);
          if (starts.length > 0) {
            expected = text.slice(0, Math.min(...starts));
            break;
          }
        }
        expect(stream(answer, text).join('')).toBe(expected);
        expect(answer.text).toBe(expected);
      }),
    );
  });
});
