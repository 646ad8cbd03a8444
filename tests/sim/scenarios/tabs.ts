import type { Random } from '../random.ts';
import type { Visit } from '../scenario.ts';
import { drawHome, drawPublicDevice, FIVE_REGIONS } from './browser-devices.ts';

export interface Crowd {
  /** Tabs that are open at the start; as many stay open on average. */
  readonly tabs: number;
  /** They come over this time. */
  readonly gatherSeconds: number;
  /** Half of the tabs that are open are gone after this time. */
  readonly halfLifeSeconds: number;
  readonly endSeconds: number;
  /** Of those that leave, who presses Stop and waits; the others close the tab or lose the network. */
  readonly politeShare: number;
  /** Of the others, who loses the network. */
  readonly vanishedShare: number;
  /** Of those that leave, who comes again after a while. */
  readonly returnShare: number;
  /** Of all, who is slowed down for a while: heat, a hidden tab, a game. */
  readonly slowdownShare: number;
}

const SLOWNESS = 3;
const SLOWDOWN_SECONDS = 120;
const MEAN_PAUSE_SECONDS = 60;

/** People who open a page and close it again: exponential stays, and for everyone who goes for good somebody new comes. */
export function drawCrowd(crowd: Crowd, random: Random): Visit[] {
  const visits: Visit[] = [];
  for (let tab = 0; tab < crowd.tabs; tab++) {
    let visit = newcomer(crowd, random.between(0, crowd.gatherSeconds), random);
    visits.push(visit);
    while (visit.leavesAt < crowd.endSeconds) {
      const comesAgain = random.next() < crowd.returnShare;
      const joinsAt = visit.leavesAt + (comesAgain ? random.exponential(MEAN_PAUSE_SECONDS) : 0);
      const next = newcomer(crowd, joinsAt, random);
      visit = comesAgain
        ? { ...next, kind: visit.kind, site: visit.site, returnOf: visits.length - 1 }
        : next;
      visits.push(visit);
    }
  }
  return visits;
}

function newcomer(crowd: Crowd, joinsAt: number, random: Random): Visit {
  const stay = random.exponential(crowd.halfLifeSeconds / Math.LN2);
  const from = joinsAt + random.between(0, stay);
  const isSlowed = random.next() < crowd.slowdownShare;
  return {
    kind: drawPublicDevice(random),
    site: drawHome(Math.floor(random.next() * FIVE_REGIONS.length), random),
    joinsAt,
    leavesAt: joinsAt + stay,
    leaving: drawLeaving(crowd, random),
    returnOf: null,
    slowdowns: isSlowed ? [{ from, until: from + SLOWDOWN_SECONDS, slowness: SLOWNESS }] : [],
  };
}

function drawLeaving({ politeShare, vanishedShare }: Crowd, random: Random): Visit['leaving'] {
  const drawn = random.next();
  if (drawn < politeShare) return 'politely';
  return (1 - drawn) / (1 - politeShare) <= vanishedShare ? 'vanished' : 'closed';
}
