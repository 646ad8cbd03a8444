import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { fits } from './cost.ts';
import { inWords, place, rateInWords, sameAssignment } from './placement.ts';
import { placementScore, predict } from './predict.ts';
import { isWhole } from './reach.ts';
import { recut } from './recut.ts';
import { employ, orphansOf } from './replicas.ts';
import { rangeKey, stagesOf } from './slices.ts';
import type { NodeSlice } from './slices.ts';
import type { Assignment, Placement, Prediction, RebalanceInput, SchedulerNode } from './types.ts';

/**
 * Moving pays when the score grows by this factor: a quarter more tokens at the same latency. Less is within the noise of
 * what is measured, and would have peers load instead of answer.
 */
const LEAST_GAIN = 1.6;
/** And by this one when some peers have more than they can do while others wait. */
const LEAST_GAIN_UNEVEN = 1.3;
/** Cutting a large mesh anew before anybody is served: nobody waits longer, but what was loaded so far is lost. */
const LEAST_GAIN_UNSERVED = 1.5;
/** Busy for this share of the time, a peer has all it can do. */
const SATURATED_SHARE = 0.8;
/** What moving everybody must gain beside that; moving some, their share of it. Loading takes minutes, and answers are cut. */
const GAIN_FOR_MOVING_ALL = 1;
/** Standard deviation of the busy shares over their mean, above which the load is uneven. */
const UNEVEN_VARIATION = 0.5;
/** A few moves are taken for as good as a new beginning from this share of its score on. */
const GOOD_ENOUGH = 0.9;
/** Moves after each other that are thought through before the first is made. */
const MAX_SINGLE_MOVES = 8;
/** The stages with the fewest holders, where another one is tried. */
const TRIED_STAGES = 3;
/** Slices that are looked at for one single move, over all the states that are tried: a bound on time. */
const MAX_TRIED_SLICES = 20_000;
/** Share of the peers that move at once; the others answer meanwhile. */
const MOVING_SHARE = 1 / 16;
const MAX_MOVING = 3;
/** In a mesh of more peers somebody always comes or goes, and newcomers level it; there only single moves are tried. */
const MAX_BEGUN_ANEW = 32;
const MAX_WAVES = 64;

type Holdings = ReadonlyMap<SchedulerNode, Assignment>;

interface Move {
  readonly node: SchedulerNode;
  readonly to: Assignment;
}

/**
 * The next moves towards a placement that is better enough, or null. First a few single moves are tried, which cost the
 * fewest bytes; when they do not come near what a new beginning would give, the moves towards that, as far as they lead
 * there without ever uncovering a layer. The new beginning depends on the peers alone, each round of moves brings more
 * of them where they belong, and single moves only ever better the score, so asking again comes to an end.
 */
export function rebalance(input: RebalanceInput): Placement | null {
  const mesh = new Mesh(input);
  const held = mesh.holdings(input.current);
  if (!mesh.isWhole(held) || held.size < 2) return null;
  const score = mesh.scoreOf(held);
  const needed = score * (isUneven(input.busyShares) ? LEAST_GAIN_UNEVEN : LEAST_GAIN);

  const single = mesh.singleMoves(held);
  const wave =
    held.size > MAX_BEGUN_ANEW
      ? mesh.recut(held, score, needed)
      : mesh.newBeginning(held, score, needed, single.score);
  if (wave !== null) return mesh.placement(held, wave);
  const moves = single.score < needed ? mesh.employment(held) : mesh.firstOf(held, single.moves);
  return mesh.placement(held, moves);
}

function isUneven(busyShares: ReadonlyMap<PeerId, number>): boolean {
  const shares = [...busyShares.values()];
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const variance = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / shares.length;
  return Math.max(...shares) >= SATURATED_SHARE && Math.sqrt(variance) > UNEVEN_VARIATION * mean;
}

/** Whether somebody holds already what anybody is to hold. */
function sameCuts(target: Holdings, held: Holdings): boolean {
  const keys = new Set(Array.from(held.values(), keyOf));
  return [...target.values()].every((to) => keys.has(keyOf(to)));
}

class Mesh {
  readonly #input: RebalanceInput;

  constructor(input: RebalanceInput) {
    this.#input = input;
  }

  holdings(assignments: ReadonlyMap<PeerId, Assignment>): Holdings {
    const held = new Map<SchedulerNode, Assignment>();
    for (const node of this.#input.nodes) {
      const assignment = assignments.get(node.peer);
      if (assignment !== undefined) held.set(node, assignment);
    }
    return held;
  }

  isWhole(held: Holdings): boolean {
    return this.#input.models.every((card) => isWhole(card.layerCount, slicesOf(card, held)));
  }

  /** Of several models, the product: a gain of one is worth the same share of another. */
  scoreOf(held: Holdings): number {
    return this.#input.models.reduce(
      (product, card) => product * placementScore(this.#predict(card, held)),
      1,
    );
  }

  /** The same stages with as many peers as possible where they are: two that would change places both stay. */
  nearest(target: Holdings, held: Holdings): Holdings {
    const nearest = new Map(target);
    const wanting = new Map<string, SchedulerNode[]>();
    for (const [node, to] of target) {
      const from = held.get(node);
      if (from === undefined || sameAssignment(from, to) || this.#hasWish(node)) continue;
      const partners = wanting.get(`${keyOf(to)} ${keyOf(from)}`) ?? [];
      const index = partners.findIndex((partner) => this.#fits(partner, to) && this.#fits(node, from));
      const [partner] = index === -1 ? [] : partners.splice(index, 1);
      if (partner === undefined) {
        const key = `${keyOf(from)} ${keyOf(to)}`;
        wanting.set(key, [...(wanting.get(key) ?? []), node]);
        continue;
      }
      nearest.set(node, from);
      nearest.set(partner, to);
    }
    return nearest;
  }

  /**
   * The first moves towards what the peers would be given if they held nothing; null when it does not pay or few do as well. A fixed
   * number of stages keeps its cuts, since between two of them there are routes with other numbers of hops.
   */
  newBeginning(held: Holdings, score: number, needed: number, scoreOfFew: number): readonly Move[] | null {
    const begun = place({ ...this.#input, current: new Map() }).assignments;
    const target = this.nearest(this.holdings(begun), held);
    if (this.#input.stages !== 'auto' && !sameCuts(target, held)) return null;
    const moving = [...target].filter(([node, to]) => !isHeld(held, node, to)).length / held.size;
    const neededForAll = needed + score * GAIN_FOR_MOVING_ALL * moving;
    const fresh = this.scoreOf(target);
    if (fresh < neededForAll || scoreOfFew >= Math.max(needed, fresh * GOOD_ENOUGH)) return null;
    return this.firstWaveTowards(target, held, neededForAll);
  }

  /**
   * Many peers at once to a better family of cuts: as many as are not needed for what flows today; while nobody is
   * served, all of them, for less. Null when it does not pay.
   */
  recut(held: Holdings, score: number, needed: number): readonly Move[] | null {
    const { models, nodes, stages, network, isServed = true } = this.#input;
    const [card, ...others] = models;
    if (card === undefined || others.length > 0 || stages !== 'auto') return null;
    const idle = nodes.filter((node) => !held.has(node) && !this.#hasWish(node));
    const canMove = (node: SchedulerNode) => (isServed ? this.#canMove(node, held) : !this.#hasWish(node));
    const keptShare = isServed ? 1 : 0;
    const found = recut(card, slicesOf(card, held), idle, canMove, keptShare, network);
    if (found === null) return null;
    const moving = found.moves.filter(({ node }) => held.has(node)).length / held.size;
    const least = isServed ? needed + score * GAIN_FOR_MOVING_ALL * moving : score * LEAST_GAIN_UNSERVED;
    if (found.score < least) return null;
    return found.moves.map(({ node, layerStart, layerEnd }) => ({
      node,
      to: { model: card.id, layerStart, layerEnd },
    }));
  }

  /** Peers without neighbours go where they are of use. Nobody is kept waiting by it, so all of them at once. */
  employment(held: Holdings): readonly Move[] {
    const { models, nodes, stages } = this.#input;
    const covered = models.map((card) => ({ card, slices: slicesOf(card, held) }));
    const orphans = covered.flatMap(orphansOf).filter((node) => this.#canMove(node, held));
    return employ(covered, orphans, nodes, stages).map(({ card, node, layerStart, layerEnd }) => ({
      node,
      to: { model: card.id, layerStart, layerEnd },
    }));
  }

  /** Peers one by one to where the flow is least, as long as each gains something. */
  singleMoves(held: Holdings): { readonly moves: readonly Move[]; readonly score: number } {
    const moves: Move[] = [];
    let [state, score] = [held, this.scoreOf(held)];
    while (moves.length < MAX_SINGLE_MOVES) {
      const best = this.#bestSingleMove(state, score);
      if (best === null) break;
      moves.push(best.move);
      [state, score] = [best.state, best.score];
    }
    return { moves, score };
  }

  #bestSingleMove(held: Holdings, score: number) {
    let best: { readonly move: Move; readonly state: Holdings; readonly score: number } | null = null;
    const maxDonors = Math.max(1, Math.floor(MAX_TRIED_SLICES / (TRIED_STAGES * held.size)));
    for (const card of this.#input.models) {
      const stages = stagesOf(slicesOf(card, held));
      const sparest = stages.toSorted((a, b) => a.holders.length - b.holders.length).slice(0, TRIED_STAGES);
      const donors = stages
        .filter(({ holders }) => holders.length > 1)
        .flatMap(({ holders }) => holders)
        .filter((node) => this.#canMove(node, held));
      for (const { layerStart, layerEnd } of sparest) {
        const to = { model: card.id, layerStart, layerEnd };
        for (const node of donors.slice(0, maxDonors)) {
          const from = held.get(node);
          if (from === undefined || sameAssignment(from, to) || !this.#fits(node, to)) continue;
          const state = new Map(held).set(node, to);
          const after = this.scoreOf(state);
          if (after > (best?.score ?? score) * 1.01) best = { move: { node, to }, state, score: after };
        }
      }
    }
    return best;
  }

  /** As many of the moves, in their order, as leave every layer to somebody while they are made. */
  firstOf(held: Holdings, moves: readonly Move[]): readonly Move[] {
    const staying = new Map(held);
    const first: Move[] = [];
    for (const move of moves) {
      if (first.length === MAX_MOVING) break;
      staying.delete(move.node);
      if (!this.isWhole(staying)) break;
      first.push(move);
    }
    return first;
  }

  /** @returns null when no waves of moves lead from here to a score of `needed`. */
  firstWaveTowards(target: Holdings, held: Holdings, needed: number): readonly Move[] | null {
    let [first, state]: [readonly Move[] | null, Holdings] = [null, held];
    for (let round = 0; round < MAX_WAVES; round += 1) {
      const wave = this.#wave(target, state);
      if (wave.length === 0) break;
      first ??= wave;
      state = after(state, wave);
    }
    return first !== null && this.scoreOf(state) >= needed ? first : null;
  }

  #wave(target: Holdings, held: Holdings): readonly Move[] {
    const most = Math.min(MAX_MOVING, Math.max(1, Math.floor(held.size * MOVING_SHARE)));
    const staying = new Map(held);
    const wave: Move[] = [];
    for (const [node, to] of target) {
      if (wave.length >= most) break;
      if (isHeld(held, node, to) || !this.#canMove(node, held)) continue;
      const from = held.get(node);
      staying.delete(node);
      if (this.isWhole(staying)) wave.push({ node, to });
      else if (from !== undefined) staying.set(node, from);
    }
    return wave;
  }

  placement(held: Holdings, moves: readonly Move[]): Placement | null {
    if (moves.length === 0) return null;
    const next = after(held, moves);
    const assignments = new Map<PeerId, Assignment>();
    for (const [node, assignment] of next) assignments.set(node.peer, assignment);
    const predicted = new Map<ModelId, Prediction>();
    for (const card of this.#input.models) predicted.set(card.id, this.#predict(card, next));
    const why = moves.map(({ node, to }) => {
      const from = held.get(node);
      const rate = rateInWords(predicted.get(to.model)?.tokensPerSecond ?? 0);
      const verb = from === undefined ? 'takes' : `moves from ${inWords(from)} to`;
      return `${node.peer} ${verb} ${inWords(to)}: a step towards a better balance, ${rate} after it`;
    });
    return { assignments, why, missing: new Map(), predicted };
  }

  #predict(card: ModelCard, held: Holdings): Prediction {
    return predict(card, slicesOf(card, held), this.#input.network);
  }

  /** Who has a slice but no busy share loads it, and would have to begin again; who has a wish stays. */
  #canMove(node: SchedulerNode, held: Holdings): boolean {
    return !this.#hasWish(node) && (!held.has(node) || this.#input.busyShares.has(node.peer));
  }

  #hasWish({ peer }: SchedulerNode): boolean {
    return this.#input.wishes?.has(peer) === true;
  }

  #fits(node: SchedulerNode, assignment: Assignment): boolean {
    const card = this.#input.models.find(({ id }) => id === assignment.model);
    return card !== undefined && fits(card, node.capability.memoryBytes, assignment);
  }
}

function isHeld(held: Holdings, node: SchedulerNode, assignment: Assignment): boolean {
  const now = held.get(node);
  return now !== undefined && sameAssignment(now, assignment);
}

function after(held: Holdings, moves: readonly Move[]): Holdings {
  const next = new Map(held);
  for (const { node, to } of moves) next.set(node, to);
  return next;
}

function keyOf(assignment: Assignment): string {
  return `${assignment.model} ${rangeKey(assignment)}`;
}

function slicesOf(card: ModelCard, held: Holdings): NodeSlice[] {
  const slices: NodeSlice[] = [];
  for (const [node, { model, layerStart, layerEnd }] of held) {
    if (model === card.id) slices.push({ node, layerStart, layerEnd });
  }
  return slices;
}
