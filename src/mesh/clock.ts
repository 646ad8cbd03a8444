export { systemClock } from '../protocol/clock.ts';
export type { Clock } from '../protocol/clock.ts';
