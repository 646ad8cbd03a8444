import { get, set } from 'idb-keyval';

const KEY = 'memory-limit-bytes';
const GIB = 1024 ** 3;

/** What a person may allow. A GPU that has less is measured and gives less. */
export const MEMORY_LIMITS_BYTES = [0.5, 1, 2, 4, 8, 16, 32].map((gib) => gib * GIB);
export const DEFAULT_MEMORY_LIMIT_BYTES = 4 * GIB;

/** @returns what was chosen on this device, or the default. */
export async function loadMemoryLimit(): Promise<number> {
  const stored: unknown = await get<unknown>(KEY).catch(unavailable);
  return MEMORY_LIMITS_BYTES.find((limit) => limit === stored) ?? DEFAULT_MEMORY_LIMIT_BYTES;
}

export async function saveMemoryLimit(limitBytes: number): Promise<void> {
  await set(KEY, limitBytes).catch(unavailable);
}

/** Private windows may refuse storage; the choice then lasts as long as the page. */
function unavailable(): undefined {
  return undefined;
}
