import type { IncomingMessage } from 'node:http';
import { isLoopback } from '../address-key.ts';
import { clientAddress } from '../client-address.ts';
import { HTTP_IDLE_TIMEOUT_MS } from '../limits.ts';

/** What the HTTP server hands on beside a request; absent where there is no socket. */
export interface GatewayEnv {
  Bindings: { readonly incoming?: IncomingMessage };
}

type Env = GatewayEnv['Bindings'] | undefined;

export function addressOf(env: Env, trustProxy: boolean): string {
  return env?.incoming === undefined ? 'unknown' : clientAddress(env.incoming, trustProxy);
}

/** Whether it was sent on this machine. What a proxy passes on was not, also where the proxy is here and not believed. */
export function isFromThisMachine(env: Env, trustProxy: boolean): boolean {
  if (env?.incoming === undefined || !isLoopback(addressOf(env, trustProxy))) return false;
  const { headers } = env.incoming;
  return trustProxy || (headers['x-forwarded-for'] === undefined && headers.forwarded === undefined);
}

/** An answer that is told whole may take longer than connections may be silent. @returns what takes that back. */
export function withoutIdleTimeout(env: Env): () => void {
  const socket = env?.incoming?.socket;
  socket?.setTimeout(0);
  return () => void socket?.setTimeout(HTTP_IDLE_TIMEOUT_MS);
}
