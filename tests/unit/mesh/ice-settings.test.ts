import { describe, expect, it } from 'vitest';
import type { IceServer, WebRtc } from '../../../src/mesh/peer-connection.ts';
import { PeerMesh } from '../../../src/mesh/peer-mesh.ts';
import { InMemoryRelay } from '../../mesh/signal-relay.ts';
import { peerId, settled } from './local-mesh.ts';

const [SELF, OTHER] = [peerId(1), peerId(2)];
const STUN: IceServer = { urls: 'stun:example.org' };
const relay = (credential: string): IceServer => ({
  urls: ['turn:example.org:3478?transport=udp', 'turns:example.org:5349'],
  username: `2000000000:${SELF}`,
  credential,
});

/** A mesh over a WebRTC that only notes what it is asked for, and fails. */
function rig(iceServers: readonly IceServer[], isRelayOnly: boolean) {
  const configurations: unknown[] = [];
  function RTCPeerConnection(configuration: unknown): never {
    configurations.push(configuration);
    throw new Error('There is no network here.');
  }
  const wrtc = {
    RTCPeerConnection,
    RTCSessionDescription: Object,
    RTCIceCandidate: Object,
  } as unknown as WebRtc;
  const signaling = new InMemoryRelay().client(SELF);
  const mesh = new PeerMesh({ self: SELF, signaling, iceServers, isRelayOnly, wrtc });
  const dial = async () => {
    await mesh.send(OTHER, Uint8Array.of(1)).catch(() => undefined);
    await settled();
  };
  return { mesh, configurations, dial };
}

describe('the ways that links may take', () => {
  it('are those the server names, all of them unless it says otherwise', async () => {
    const { configurations, dial } = rig([STUN, relay('secret')], false);
    await dial();
    expect(configurations[0]).toMatchObject({ iceServers: [STUN, relay('secret')] });
    expect(configurations[0]).not.toHaveProperty('iceTransportPolicy');
  });

  it('are relays only where it says so', async () => {
    const { configurations, dial } = rig([STUN, relay('secret')], true);
    await dial();
    expect(configurations[0]).toMatchObject({ iceTransportPolicy: 'relay' });
  });

  it('follow what it says later', async () => {
    const { mesh, configurations, dial } = rig([relay('old')], true);
    await dial();
    const before = configurations.length;
    mesh.setIceServers([relay('new')]);
    await dial();
    expect(configurations[before - 1]).toMatchObject({ iceServers: [relay('old')] });
    expect(configurations[before]).toMatchObject({
      iceServers: [relay('new')],
      iceTransportPolicy: 'relay',
    });
  });

  it.each([
    ['no servers', []],
    ['a server that is no relay', [STUN]],
  ])('are none with relays only and %s, and that is said', async (_what, iceServers) => {
    const { mesh, configurations } = rig(iceServers, true);
    await expect(mesh.send(OTHER, Uint8Array.of(1))).rejects.toMatchObject({
      code: 'no-route',
      message: expect.stringContaining('TURN') as string,
    });
    expect(configurations).toEqual([]);
  });
});
