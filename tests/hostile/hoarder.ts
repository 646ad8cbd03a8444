import { encodeFrame } from '../../src/protocol/frame-codec.ts';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import { GREEDY, NO_HISTORY } from '../../src/protocol/sampling.ts';
import { MODEL, peerId, settled } from '../unit/mesh/local-mesh.ts';
import type { HostileMesh } from './hostile-mesh.ts';
import { EPOCH_KEYS } from '../fixtures/epoch-keys.ts';

const HOARDER: PeerId = peerId(0xdead);
const HOUR_MS = 3_600_000;

/** A requester that opens requests over honest stages and feeds none of them. */
export class Hoarder {
  constructor(private readonly mesh: HostileMesh) {}

  async openAll(count: number): Promise<void> {
    const { hub, honest } = this.mesh;
    const transport = hub.transport(HOARDER);
    const stageCount = new Set(honest.map(({ hop }) => hop.layerStart)).size;
    for (let index = 0; index < count; index++) {
      const requestId = index.toString(16).padStart(16, 'd') as RequestId;
      // Every replica in turn, so that none has places left.
      const replica = index % (honest.length / stageCount);
      const hops = honest.slice(replica * stageCount, (replica + 1) * stageCount).map(({ hop }) => hop);
      const [first] = hops;
      if (first === undefined) return;
      const request = {
        route: { requestId, epoch: 0, model: MODEL, hops },
        requester: HOARDER,
        promptTokens: 8,
        blockHashes: [],
        timeLimitMs: HOUR_MS,
        maxTokens: 8,
        stopTokenIds: [],
        sampling: GREEDY,
        history: NO_HISTORY,
        constraint: null,
        keepsCache: true,
        epochKey: EPOCH_KEYS.at(0),
      };
      await transport.send(first.peer, encodeFrame({ type: 'open', request, offers: [] }, 'f16'));
    }
    await settled();
  }
}
