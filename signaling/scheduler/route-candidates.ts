import type { RouteCosts } from './route-costs.ts';
import type { ServingMember } from './types.ts';

/** Of more members than this, only the quickest of each slice and region are searched. */
export const MAX_SEARCHED_MEMBERS = 512;
/** Of each slice and region; several, because a measured way can make up for a slower step. */
const KEPT_OF_EACH = 3;
/** Above every layer and region, for keys. */
const KEY_BASE = 2048;

interface Candidate {
  readonly index: number;
  readonly seconds: number;
}

/** The members worth searching, in order of arrival: all of few, and of many those that others do not stand for. */
export function searchedMembers(
  members: readonly ServingMember[],
  costs: RouteCosts,
): readonly ServingMember[] {
  if (members.length <= MAX_SEARCHED_MEMBERS) return members;
  const groups = new Map<number, Candidate[]>();
  for (const [index, member] of members.entries()) {
    const key = (member.layerStart * KEY_BASE + member.layerEnd) * KEY_BASE + member.region;
    const seconds = costs.memberChoice(member);
    if (!Number.isFinite(seconds)) continue;
    const kept = groups.get(key);
    if (kept === undefined) groups.set(key, [{ index, seconds }]);
    else keep(kept, { index, seconds });
  }
  const indices = [...groups.values()].flatMap((kept) => kept.map(({ index }) => index));
  return indices
    .sort((a, b) => a - b)
    .flatMap((index) => {
      const member = members[index];
      return member === undefined ? [] : [member];
    });
}

function keep(kept: Candidate[], candidate: Candidate): void {
  const last = kept.at(-1);
  const isFull = kept.length === KEPT_OF_EACH;
  if (isFull && last !== undefined && candidate.seconds >= last.seconds) return;
  const place = kept.findIndex(({ seconds }) => candidate.seconds < seconds);
  kept.splice(place < 0 ? kept.length : place, 0, candidate);
  if (kept.length > KEPT_OF_EACH) kept.pop();
}
