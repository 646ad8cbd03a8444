import { serveTimers } from './timer-service.ts';
import type { TimerCommand } from './timer-service.ts';

/** The module a page starts as its clock. */
const handle = serveTimers((id) => self.postMessage(id));

self.onmessage = (event: MessageEvent<TimerCommand>) => handle(event.data);
