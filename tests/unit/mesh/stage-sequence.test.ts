import { describe, expect, it } from 'vitest';
import { StageSequence } from '../../../src/mesh/stage-sequence.ts';
import { LocalMesh, peerId } from './local-mesh.ts';

const VALUES = new Float32Array(2);

function sequenceAt(hopIndex: number, hops = 3): StageSequence {
  return new StageSequence(new LocalMesh(hops).request(4, 3), hopIndex, 0);
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
    expect(sequence.takeActivations(peerId(1), 0, 1, VALUES)?.position).toBe(0);
    expect(() => sequence.takeActivations(peerId(1), 0, 1, VALUES)).toThrow(/position 0, where 1 is next/);
    expect(() => sequence.takeActivations(peerId(1), 2, 1, VALUES)).toThrow(/position 2, where 1 is next/);
    expect(sequence.takeActivations(peerId(1), 1, 1, VALUES)?.position).toBe(1);
  });

  it('begins at any block up to what is cached, whatever the engine would do', () => {
    const request = new LocalMesh(3).request(100, 3);
    const begin = (position: number) =>
      new StageSequence(request, 1, 32).takeActivations(peerId(1), position, 1, VALUES);
    for (const position of [0, 16, 32]) expect(begin(position)?.position).toBe(position);
    for (const position of [1, 8, 31, 33, 48]) {
      expect(() => begin(position)).toThrow(/where a whole block up to 32 is next/);
    }
  });

  it('ends with the last token that was asked for', () => {
    const sequence = sequenceAt(2);
    expect([4, 5, 6].map((position) => sequence.endsWith(0, position))).toEqual([false, false, true]);
  });
});
