import { get, set } from 'idb-keyval';
import type { TuningStore } from '../engine/choose-tuning.ts';

const KEY_PREFIX = 'kernel-tuning ';

/** Keeps choices in the browser. Private windows may refuse storage; the choice is then measured again on every visit. */
export function browserTuningStore(): TuningStore {
  return {
    load: (key) => get<unknown>(KEY_PREFIX + key).catch(() => undefined),
    save: (key, tuning) => set(KEY_PREFIX + key, tuning).catch(() => undefined),
  };
}
