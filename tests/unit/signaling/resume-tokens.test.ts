import { createHmac } from 'node:crypto';
import { expect, it } from 'vitest';
import { MAX_RESUME_TOKEN_CHARACTERS } from '../../../src/protocol/limits.ts';
import { ResumeTokens } from '../../../signaling/resume-tokens.ts';
import { peerId } from './scheduler/instances.ts';

const secret = Buffer.from('a secret of more than sixteen bytes');
const [A, B] = [peerId(1), peerId(2)];

it('gives a peer the HMAC of its id, the same in another process with the same secret', () => {
  const token = new ResumeTokens(secret).tokenOf(A);
  expect(token).toBe(createHmac('sha256', secret).update(A).digest('base64url'));
  expect(token.length).toBeLessThanOrEqual(MAX_RESUME_TOKEN_CHARACTERS);
  expect(new ResumeTokens(secret).isRight(A, token)).toBe(true);
});

it('takes no token of another peer, of another secret, cut, longer or in other letters', () => {
  const tokens = new ResumeTokens(secret);
  const right = tokens.tokenOf(A);
  const other = new ResumeTokens(Buffer.from('another secret of enough bytes')).tokenOf(A);
  const wrong = [
    tokens.tokenOf(B),
    other,
    right.slice(0, -1),
    `${right}A`,
    right.toLowerCase(),
    '',
    'é'.repeat(43),
  ];
  for (const token of wrong) expect(tokens.isRight(A, token)).toBe(false);
});

it('wants a secret that nobody can try out', () => {
  expect(() => new ResumeTokens(Buffer.from('short'))).toThrow('at least 16 random ones');
});
