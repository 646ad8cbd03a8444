import { ResumeTokens } from '../../signaling/resume-tokens.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { Dice } from './dice.ts';
import { mutateText } from './json-mutations.ts';
import { describe, Tally } from './tally.ts';

const PEERS = 50;
const SECRET_BYTES = 32;

/** Tokens of other peers, of another server, damaged and written otherwise: only the very one that was given counts. */
export function fuzzResumeTokens(tokens: number, dice: Dice): Tally {
  const tally = new Tally('resume tokens');
  const secret = () => Uint8Array.from({ length: SECRET_BYTES }, () => dice.below(256));
  const [own, other] = [new ResumeTokens(secret()), new ResumeTokens(secret())];
  const peers = Array.from({ length: PEERS }, () => dice.hexDigits(32) as PeerId);
  for (let count = 0; count < tokens; count++) {
    const peer = dice.oneOf(peers);
    const right = own.tokenOf(peer);
    const shown = dice.oneOf([
      () => right,
      () => own.tokenOf(dice.oneOf(peers)),
      () => other.tokenOf(peer),
      () => mutateText(right, dice),
      () => `${right}=`,
      () => right.toUpperCase(),
      () => right.replaceAll('-', '+').replaceAll('_', '/'),
      // The last character of base64 carries bits that are not looked at where it is decoded.
      () => right.slice(0, -1) + dice.oneOf(['A', 'B', 'C', 'D', 'g', 'w', '8']),
    ])();
    try {
      if (own.isRight(peer, shown) !== (shown === right))
        tally.problem(`"${shown}" of "${right}" was judged wrongly`);
      tally.accept();
    } catch (thrown) {
      tally.problem(`threw ${describe(thrown)} for "${shown}"`);
    }
  }
  return tally;
}
