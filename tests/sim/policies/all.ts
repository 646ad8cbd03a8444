import type { PolicyFactory } from '../policy.ts';
import { parallaxPaper, parallaxPaperInSkein } from './parallax/paper.ts';
import { parallaxShipped } from './parallax/shipped.ts';
import { petals } from './petals.ts';
import { RoomHost } from './room-host.ts';
import { SkeinPolicy } from './skein.ts';

/** Every policy, by the name it has on the command line. */
export const POLICIES: Readonly<Record<string, PolicyFactory>> = {
  skein: (context) => new SkeinPolicy(context),
  'parallax-shipped': parallaxShipped,
  'parallax-paper': parallaxPaper,
  'parallax-paper-in-skein': parallaxPaperInSkein,
  petals,
  'room-host': (context) => new RoomHost(context),
};
