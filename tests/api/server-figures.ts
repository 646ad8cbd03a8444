import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';

const POLL_MS = 50;
const TIMEOUT_MS = 20_000;

const healthSchema = v.object({ requests: v.number(), queued: v.number() });
export type ServerRequests = v.InferOutput<typeof healthSchema>;

/** Requests that hold a route, and that wait for one, as the server tells. */
export async function serverRequests(serverUrl: string): Promise<ServerRequests> {
  const response = await fetch(`${serverUrl}/healthz`);
  return v.parse(healthSchema, await response.json());
}

/**
 * One figure of `/metrics`, summed over its labels.
 * @param labels those it must have, as they are written, such as `kind="completion"`.
 */
export async function serverMetric(serverUrl: string, name: string, labels = ''): Promise<number> {
  const text = await (await fetch(`${serverUrl}/metrics`)).text();
  const lines = text
    .split('\n')
    .filter((line) => /^[^{ ]+/.exec(line)?.[0] === name && line.includes(labels));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** Resolves when it is so. @throws Error naming what was waited for. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`After ${TIMEOUT_MS / 1000} s not so: ${what}.`);
    await sleep(POLL_MS);
  }
}
