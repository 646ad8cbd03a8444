import type { PolicyFactory } from '../policy.ts';
import { RoomHost } from './room-host.ts';
import { SkeinPolicy } from './skein.ts';

/** Every policy, by the name it has on the command line. */
export const POLICIES: Readonly<Record<string, PolicyFactory>> = {
  skein: (context) => new SkeinPolicy(context),
  'room-host': (context) => new RoomHost(context),
};
