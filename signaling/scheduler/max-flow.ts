/** A way from one vertex to another and how much can take it. */
export interface FlowEdge {
  readonly from: number;
  readonly to: number;
  readonly capacity: number;
}

const NONE = -1;
/** What is less than this share of the largest capacity is rounding. */
const RELATIVE_EPSILON = 1e-12;

/**
 * The greatest flow from one vertex to another, by shortest augmenting paths (Edmonds and Karp).
 * @param edges parallel ones add up.
 */
export function maxFlow(
  vertexCount: number,
  source: number,
  sink: number,
  edges: readonly FlowEdge[],
): number {
  // Edge 2i and its reverse 2i + 1; the edges of a vertex are a linked list.
  const residual = new Float64Array(2 * edges.length);
  const target = new Int32Array(2 * edges.length);
  const nextOf = new Int32Array(2 * edges.length);
  const firstOf = new Int32Array(vertexCount).fill(NONE);
  let epsilon = 0;
  const link = (edge: number, from: number, to: number, capacity: number) => {
    residual[edge] = capacity;
    target[edge] = to;
    nextOf[edge] = firstOf[from] ?? NONE;
    firstOf[from] = edge;
  };
  for (const [index, { from, to, capacity }] of edges.entries()) {
    link(2 * index, from, to, capacity);
    link(2 * index + 1, to, from, 0);
    epsilon = Math.max(epsilon, capacity * RELATIVE_EPSILON);
  }

  const arrivedBy = new Int32Array(vertexCount);
  const queue = new Int32Array(vertexCount);
  const findPath = (): boolean => {
    arrivedBy.fill(NONE);
    queue[0] = source;
    for (let head = 0, tail = 1; head < tail; head += 1) {
      const from = queue[head] ?? source;
      for (let edge = firstOf[from] ?? NONE; edge !== NONE; edge = nextOf[edge] ?? NONE) {
        const to = target[edge] ?? NONE;
        if (to === source || arrivedBy[to] !== NONE || (residual[edge] ?? 0) <= epsilon) continue;
        arrivedBy[to] = edge;
        if (to === sink) return true;
        queue[tail] = to;
        tail += 1;
      }
    }
    return false;
  };

  let flow = 0;
  while (findPath()) {
    let added = Infinity;
    for (let at = sink; at !== source;) {
      const edge = arrivedBy[at] ?? NONE;
      added = Math.min(added, residual[edge] ?? 0);
      at = target[edge ^ 1] ?? source;
    }
    for (let at = sink; at !== source;) {
      const edge = arrivedBy[at] ?? NONE;
      residual[edge] = (residual[edge] ?? 0) - added;
      residual[edge ^ 1] = (residual[edge ^ 1] ?? 0) + added;
      at = target[edge ^ 1] ?? source;
    }
    flow += added;
  }
  return flow;
}
