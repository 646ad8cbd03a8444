import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as v from 'valibot';

const schema = v.object({ version: v.string(), engines: v.object({ node: v.string() }) });

/** Of this program's own package.json. */
export interface PackageFacts {
  readonly version: string;
  /** The oldest Node that it runs on, as major and minor. */
  readonly oldestNode: readonly [major: number, minor: number];
}

export function packageFacts(): PackageFacts {
  const path = resolve(import.meta.dirname, '../../package.json');
  const { version, engines } = v.parse(schema, JSON.parse(readFileSync(path, 'utf8')));
  const [, major, minor] = /(\d+)\.(\d+)/.exec(engines.node) ?? [];
  return { version, oldestNode: [Number(major ?? 0), Number(minor ?? 0)] };
}
