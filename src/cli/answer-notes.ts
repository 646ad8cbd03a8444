import type { GenerateEvent } from '../client/generate.ts';
import { queueWords } from '../client/queue-words.ts';
import { lossWords, rerouteWords } from '../client/reroute-words.ts';

/** What a person is told beside the answer itself: its place in the queue, what was lost, and that it goes on. */
export function notesOf(event: GenerateEvent): string[] {
  switch (event.type) {
    case 'queued':
      return [queueWords(event.position)];
    case 'waiting': {
      const { reroute, error } = event;
      return [reroute === null ? error.message : `${lossWords(reroute)}. Looking for another way…`];
    }
    case 'resumed':
      return event.reroutes.map(rerouteWords);
    default:
      return [];
  }
}
