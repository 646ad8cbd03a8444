import type { Network } from './types.ts';

/** Round trip between two peers of which nothing was measured. */
const UNKNOWN_RTT_SECONDS = 0.02;

/** Peers of which nothing was measured: all equally far from each other. */
export const ONE_REGION: Network = { regionRttSeconds: [[UNKNOWN_RTT_SECONDS]], links: new Map() };
