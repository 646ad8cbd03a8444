import type { Page } from '@playwright/test';

/** The kinds of the two ends of one open link, as WebRTC says: `host`, `srflx`, `prflx` or `relay`. */
export interface LinkEnds {
  readonly local: string;
  readonly remote: string;
}

/** The part of `RTCPeerConnection` that is asked; its reports are the same in browsers and in Node. */
interface StatsSource {
  getStats(): Promise<ReadonlyMap<string, Readonly<Record<string, unknown>>>>;
}

/** A WebRTC whose connections are remembered. @returns the connections of all that were made since. */
export function rememberConnections<Rtc extends { RTCPeerConnection: new (...args: never[]) => object }>(
  rtc: Rtc,
): { readonly wrtc: Rtc; readonly connections: readonly StatsSource[] } {
  const connections: StatsSource[] = [];
  const Remembered = new Proxy(rtc.RTCPeerConnection, {
    construct(target, args: never[], newTarget: () => object) {
      const connection = Reflect.construct(target, args, newTarget) as object;
      connections.push(connection as StatsSource);
      return connection;
    },
  });
  return { wrtc: { ...rtc, RTCPeerConnection: Remembered }, connections };
}

/** Of those that are open. */
export async function linkEnds(connections: readonly StatsSource[]): Promise<LinkEnds[]> {
  const reports = await Promise.all(
    connections.map((connection) => connection.getStats().catch(() => new Map())),
  );
  return reports.flatMap((report: ReadonlyMap<string, Readonly<Record<string, unknown>>>) =>
    endsOf([...report.values()]),
  );
}

/** Has a page remember its connections; to be called before it is opened. */
export async function rememberPageConnections(page: Pick<Page, 'addInitScript'>): Promise<void> {
  await page.addInitScript(() => {
    const connections: RTCPeerConnection[] = [];
    Object.assign(window, { skeinTestConnections: connections });
    window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
      construct(target, args: [RTCConfiguration?]) {
        const connection = new target(...args);
        connections.push(connection);
        return connection;
      },
    });
  });
}

export async function pageLinkEnds(page: Page): Promise<LinkEnds[]> {
  const reports = await page.evaluate(async () => {
    const { skeinTestConnections } = window as unknown as { skeinTestConnections: RTCPeerConnection[] };
    const open = skeinTestConnections.filter(({ connectionState }) => connectionState === 'connected');
    const stats = await Promise.all(open.map((connection) => connection.getStats()));
    return stats.map((report) => [...report.values()] as Record<string, unknown>[]);
  });
  return reports.flatMap(endsOf);
}

/** The pair that carries the link; nothing for a connection that is closed or was never made. */
function endsOf(stats: readonly Readonly<Record<string, unknown>>[]): LinkEnds[] {
  const byId = new Map(stats.map((each) => [each['id'], each]));
  const transport = stats.find(({ type }) => type === 'transport');
  const selected = byId.get(transport?.['selectedCandidatePairId']);
  const pair =
    selected ?? stats.find((each) => each['type'] === 'candidate-pair' && each['nominated'] === true);
  if (pair === undefined) return [];
  const kindOf = (id: unknown) => String(byId.get(id)?.['candidateType']);
  return [{ local: kindOf(pair['localCandidateId']), remote: kindOf(pair['remoteCandidateId']) }];
}
