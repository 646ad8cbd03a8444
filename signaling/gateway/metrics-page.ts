import type { Context } from 'hono';
import type { Registry } from 'prom-client';
import { presentedKey } from './callers.ts';
import { isFromThisMachine } from './client.ts';
import type { GatewayEnv } from './client.ts';

export interface MetricsGuard {
  readonly isMetricsPublic?: boolean;
  readonly isOperator?: (key: string) => boolean;
  readonly trustProxy: boolean;
}

/** Figures for Prometheus: for this machine, and for whoever has the operator's key. */
export async function serveMetrics(
  { req, env }: Context<GatewayEnv>,
  guard: MetricsGuard,
  registry: Registry,
): Promise<Response> {
  const key = presentedKey(req.raw.headers);
  const mayRead =
    guard.isMetricsPublic === true ||
    isFromThisMachine(env, guard.trustProxy) ||
    (key !== null && guard.isOperator?.(key) === true);
  if (!mayRead) {
    const words = 'Figures are for the operator. Send the operator key as "Authorization: Bearer".\n';
    return new Response(words, { status: 401, headers: { 'www-authenticate': 'Bearer' } });
  }
  const headers = { 'content-type': registry.contentType, 'cache-control': 'no-store' };
  return new Response(await registry.metrics(), { headers });
}
