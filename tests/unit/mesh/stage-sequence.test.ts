import { describe, expect, it } from 'vitest';
import { StageSequence } from '../../../src/mesh/stage-sequence.ts';
import { chainOf, LocalMesh, peerId } from './local-mesh.ts';
import { offerOf } from './stage-rig.ts';

const VALUES = new Float32Array(2);

function sequenceAt(hopIndex: number, hops = 3): StageSequence {
  return new StageSequence(new LocalMesh(hops).request(4, 3), hopIndex, offerOf(0));
}

describe('a sequence at a hop', () => {
  it('knows its neighbours', () => {
    const requester = peerId(0xff);
    const [first, middle, last, only] = [sequenceAt(0), sequenceAt(1), sequenceAt(2), sequenceAt(0, 1)];
    expect([first.upstream, first.downstream, first.lastHop]).toEqual([requester, peerId(2), peerId(3)]);
    expect([middle.upstream, middle.downstream, middle.firstHop]).toEqual([peerId(1), peerId(3), peerId(1)]);
    expect([last.upstream, last.downstream, last.firstHop]).toEqual([peerId(2), null, peerId(1)]);
    expect([only.upstream, only.downstream, only.firstHop, only.lastHop]).toEqual([
      requester,
      null,
      peerId(1),
      peerId(1),
    ]);
  });

  it('takes each position once, whatever the engine would do', () => {
    const sequence = sequenceAt(1);
    const take = (position: number, rows = 1) => sequence.takeActivations(peerId(1), position, rows, VALUES);
    expect(take(0)).toMatchObject({ position: 0 });
    expect(take(0)).toBe('known');
    expect(() => take(0, 2)).toThrow(/position 0, where 1 is next/);
    expect(() => take(2)).toThrow(/position 2, where 1 is next/);
    expect(take(1)).toMatchObject({ position: 1 });
    expect([sequence.receivedUpTo, take(0, 2)]).toEqual([2, 'known']);
  });

  const request = {
    ...new LocalMesh(3).request(100, 3),
    blockHashes: [...chainOf(new Array<number>(100).fill(7)).hashes],
  };
  const middleWith = (journalFrom: number) =>
    new StageSequence(request, 1, { cachedTokens: 32, journalFrom });

  it.each([0, 16, 32])('begins at %i, where that was agreed on', (start) => {
    const sequence = middleWith(32);
    expect(sequence.begin([32, start, start])).toBe(true);
    for (const position of [0, 1, 16, 32, 33, 48].filter((other) => other !== start)) {
      expect(() => sequence.takeActivations(peerId(1), position, 1, VALUES)).toThrow(
        `where ${start} is next`,
      );
    }
    expect(sequence.takeActivations(peerId(1), start, 1, VALUES)).toMatchObject({ position: start });
    expect(sequence.begin([0, 0, 0])).toBe(false);
  });

  it('begins where it can: with what it has, and where the next hop is sent what it lacks', () => {
    expect(() => middleWith(32).begin([48, 48, 48])).toThrow(/has 32 rows/);
    expect(() => middleWith(32).begin([32, 32, 16])).toThrow(/can send again from 32/);
    expect(() => middleWith(16).begin([32, 32, 0])).toThrow(/can send again from 16/);
    expect(middleWith(16).begin([32, 32, 16])).toBe(true);
    expect(middleWith(32).begin([32, 16, 32])).toBe(true);
    expect(() => middleWith(32).begin([32, 32])).toThrow(/of 2 starts/);
    expect(() => middleWith(32).begin([32, 32, 32, 32])).toThrow(/of 4 starts/);
  });

  it('ends with the last token that was asked for', () => {
    const sequence = sequenceAt(2);
    expect([4, 5, 6].map((position) => sequence.endsWith(0, position))).toEqual([false, false, true]);
  });
});
