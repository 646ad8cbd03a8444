import { describe, expect, it } from 'vitest';
import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { peerId, settled } from './local-mesh.ts';

const [ONE, TWO, THREE] = [peerId(1), peerId(2), peerId(3)];

function hubOfThree() {
  const hub = new LocalHub();
  const heard: string[] = [];
  const transports = [ONE, TWO, THREE].map((self) => {
    const transport = hub.transport(self);
    transport.onFrame((from, frame) => heard.push(`${Number(from)}→${Number(self)} ${frame.join()}`));
    transport.onPeerLost((peer) => heard.push(`${Number(self)} lost ${Number(peer)}`));
    return transport;
  });
  const [one, two, three] = transports;
  if (!one || !two || !three) throw new Error('three transports were made');
  return { hub, heard, one, two, three };
}

describe('the local hub', () => {
  it('delivers copies, in order, after send has returned', async () => {
    const { heard, one, two } = hubOfThree();
    const bytes = Uint8Array.of(1);
    const sends = [one.send(TWO, bytes), one.send(TWO, Uint8Array.of(2)), two.send(ONE, Uint8Array.of(3))];
    expect(heard).toEqual([]);
    bytes[0] = 9;
    await Promise.all(sends);
    expect(heard).toEqual(['1→2 1', '1→2 2', '2→1 3']);
  });

  it('tells those who exchanged frames with a peer that it vanished, and nobody else', async () => {
    const { hub, heard, one, two, three } = hubOfThree();
    await one.send(TWO, Uint8Array.of(1));
    heard.length = 0;
    const lost = two.send(ONE, Uint8Array.of(2));
    hub.remove(ONE);
    await lost;
    await settled();
    expect(heard).toEqual(['2 lost 1']);
    await expect(three.send(ONE, Uint8Array.of(1))).rejects.toMatchObject({
      code: 'peer-lost',
      data: { peer: ONE },
    });
    await expect(one.send(TWO, Uint8Array.of(1))).rejects.toMatchObject({ code: 'peer-lost' });
  });
});
