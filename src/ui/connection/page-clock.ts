import { startWorkerClock } from '../../contributor/worker-clock.ts';

/** Of every deadline of this page, also while nobody sees it. */
export const pageClock = startWorkerClock();
