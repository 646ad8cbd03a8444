import { place } from './placement.ts';
import { rebalance } from './rebalance.ts';
import { findRoute } from './routing.ts';
import type { Scheduler } from './types.ts';

/** Keeps what is placed, completes what is missing, copies what is slow, moves what pays; routes by measured speed and load. */
export const steadyScheduler: Scheduler = { place, rebalance, findRoute };
