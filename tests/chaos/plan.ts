import { Random } from '../sim/random.ts';

/** What is done to a peer's messages to others, as often as `share` says, for a while. */
export type WireFault = 'corrupt' | 'duplicate' | 'reorder';

/** One thing that goes wrong. Peers are numbered from 0, Node peers first, then tabs. */
export type Fault =
  /** Vanishes without a word; comes again after a rest. */
  | { readonly kind: 'kill'; readonly peer: number; readonly restMs: number }
  /** Is told to stop, finishes what it has, and comes again after a rest. */
  | { readonly kind: 'leave'; readonly peer: number; readonly restMs: number }
  /** SIGSTOP: every thread of it, sockets open. */
  | { readonly kind: 'freeze'; readonly peer: number; readonly forMs: number }
  /** Stopped for most of every tenth of a second. */
  | { readonly kind: 'slow'; readonly peer: number; readonly forMs: number }
  | {
      readonly kind: WireFault;
      readonly peer: number;
      readonly forMs: number;
      /** Of its messages; 0 to 1. */
      readonly share: number;
    }
  /** Its GPU device is destroyed. */
  | { readonly kind: 'lose-device'; readonly peer: number }
  /** kill -9 of the server, and another on the same port. */
  | { readonly kind: 'restart-server'; readonly downMs: number };

export type FaultKind = Fault['kind'];

export interface PlannedFault {
  /** After the fault before it. */
  readonly afterMs: number;
  readonly fault: Fault;
}

export interface PlanOptions {
  readonly seed: number;
  /** Node peers. The first is never killed and never leaves, so that what it keeps in memory can be seen. */
  readonly nodes: number;
  readonly tabs: number;
  /** Between two faults, at least; a random part of as much again is added. */
  readonly intervalMs: number;
}

/** Kinds are dealt from a deck, so that every run of some length has all of them; how often each is in it. */
const DECK: Readonly<Record<FaultKind, number>> = {
  kill: 3,
  leave: 2,
  freeze: 2,
  slow: 1,
  corrupt: 1,
  duplicate: 1,
  reorder: 1,
  'lose-device': 1,
  'restart-server': 1,
};
export const FAULT_KINDS = Object.keys(DECK) as readonly FaultKind[];

/** Without a process of their own, tabs are closed and stopped. */
const TAB_KINDS: readonly FaultKind[] = ['kill', 'leave'];
/** A tab measures and compiles for long: it comes to harm as often as it comes to serve. */
const TAB_SHARE = 0.3;

const REST_MS = [500, 3_000] as const;
const FREEZE_MS = [1_000, 10_000] as const;
const SLOW_MS = [2_000, 6_000] as const;
const WIRE_MS = [1_000, 4_000] as const;
const WIRE_SHARE = [0.02, 0.3] as const;
const SERVER_DOWN_MS = [200, 2_000] as const;

/** Faults without end: the same for the same options, whatever happens while they are carried out. */
export function* planFaults({ seed, nodes, tabs, intervalMs }: PlanOptions): Generator<PlannedFault, never> {
  const random = new Random(String(seed));
  const whole = ([least, most]: readonly [number, number]) => Math.round(random.between(least, most));
  const oneOf = (first: number, count: number) => first + Math.floor(random.next() * count);
  const deal = (kind: FaultKind): Fault => {
    switch (kind) {
      case 'restart-server':
        return { kind, downMs: whole(SERVER_DOWN_MS) };
      case 'kill':
      case 'leave': {
        const isTab = TAB_KINDS.includes(kind) && random.next() < (tabs > 0 ? TAB_SHARE : 0);
        return { kind, peer: isTab ? oneOf(nodes, tabs) : oneOf(1, nodes - 1), restMs: whole(REST_MS) };
      }
      case 'freeze':
        return { kind, peer: oneOf(0, nodes), forMs: whole(FREEZE_MS) };
      case 'slow':
        return { kind, peer: oneOf(0, nodes), forMs: whole(SLOW_MS) };
      case 'corrupt':
      case 'duplicate':
      case 'reorder': {
        const share = Number(random.between(...WIRE_SHARE).toFixed(2));
        return { kind, peer: oneOf(0, nodes), forMs: whole(WIRE_MS), share };
      }
      case 'lose-device':
        return { kind, peer: oneOf(0, nodes) };
    }
  };
  for (;;) {
    const deck = FAULT_KINDS.flatMap((kind) => Array.from({ length: DECK[kind] }, () => kind));
    while (deck.length > 0) {
      const afterMs = Math.round(intervalMs * (1 + random.next()));
      const [kind] = deck.splice(oneOf(0, deck.length), 1);
      if (kind !== undefined) yield { afterMs, fault: deal(kind) };
    }
  }
}

/** The faults of a run that is never held up. */
export function faultsWithin(options: PlanOptions, durationMs: number): PlannedFault[] {
  const planned: PlannedFault[] = [];
  let atMs = 0;
  for (const next of planFaults(options)) {
    atMs += next.afterMs;
    if (atMs > durationMs) return planned;
    planned.push(next);
  }
  return planned;
}

/** A fault in a line for people. */
export function faultWords(fault: Fault): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  switch (fault.kind) {
    case 'restart-server':
      return `server killed, and back after ${seconds(fault.downMs)}`;
    case 'kill':
    case 'leave':
      return `peer ${fault.peer} ${fault.kind === 'kill' ? 'killed' : 'told to leave'}, and back after ${seconds(fault.restMs)}`;
    case 'freeze':
      return `peer ${fault.peer} frozen for ${seconds(fault.forMs)}`;
    case 'slow':
      return `peer ${fault.peer} slowed down for ${seconds(fault.forMs)}`;
    case 'lose-device':
      return `peer ${fault.peer} loses its device`;
    default:
      return `peer ${fault.peer}: ${fault.kind} ${Math.round(fault.share * 100)} % of its messages for ${seconds(fault.forMs)}`;
  }
}
