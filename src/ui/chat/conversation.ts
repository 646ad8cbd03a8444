import type { GenerateEvent } from '../../client/generate.ts';
import type { Reroute } from '../../client/request-state.ts';
import type { SkeinError } from '../../protocol/errors.ts';
import type { PeerId } from '../../protocol/ids.ts';
import type { Route } from '../../protocol/route.ts';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';

export type AnswerStatus =
  /** The tokenizer is loading, or the server is choosing tabs. */
  | { readonly phase: 'preparing' }
  /** The tabs compute the prompt. */
  | { readonly phase: 'reading' }
  /** The mesh is full; 1 is next. */
  | { readonly phase: 'queued'; readonly position: number }
  /** Nothing can happen now; it goes on by itself. */
  | { readonly phase: 'waiting'; readonly error: SkeinError; readonly reroute: Reroute | null }
  /** Other tabs take over from one that was lost. */
  | { readonly phase: 'resuming'; readonly reroute: Reroute }
  | { readonly phase: 'writing' }
  | {
      readonly phase: 'done';
      readonly finishReason: 'stop' | 'length';
      readonly timeToFirstTokenMs: number;
      readonly tokensPerSecond: number | null;
    }
  | { readonly phase: 'stopped' }
  | { readonly phase: 'failed'; readonly error: SkeinError };

export interface Answer {
  readonly status: AnswerStatus;
  readonly text: string;
  /** Every sampled token, a final stop token included. */
  readonly tokenIds: readonly number[];
  /** The tabs that compute it; null until they are chosen. */
  readonly route: Route | null;
  /** This tab's id when it got the route. */
  readonly self: PeerId | null;
  /** Tabs that were lost on the way. */
  readonly reroutes: readonly Reroute[];
}

/** What a person said, and the answer to it. */
export interface Turn {
  readonly id: number;
  readonly prompt: string;
  readonly answer: Answer;
}

export const NEW_ANSWER: Answer = {
  status: { phase: 'preparing' },
  text: '',
  tokenIds: [],
  route: null,
  self: null,
  reroutes: [],
};

export function isUnderWay({ status }: Answer): boolean {
  return !['done', 'stopped', 'failed'].includes(status.phase);
}

export function applyEvent(answer: Answer, event: GenerateEvent): Answer {
  switch (event.type) {
    case 'route':
      return {
        ...answer,
        route: event.route,
        status: event.reroute === null ? { phase: 'reading' } : { phase: 'resuming', reroute: event.reroute },
      };
    case 'queued':
      return { ...answer, status: { phase: 'queued', position: event.position } };
    case 'waiting':
      return { ...answer, status: { phase: 'waiting', error: event.error, reroute: event.reroute } };
    case 'resumed':
      return { ...answer, reroutes: [...answer.reroutes, ...event.reroutes] };
    case 'token':
      return {
        ...answer,
        text: answer.text + event.text,
        tokenIds: [...answer.tokenIds, event.tokenId],
        status: { phase: 'writing' },
      };
    case 'done': {
      const { text, tokenIds, finishReason, timeToFirstTokenMs, tokensPerSecond, reroutes } = event.result;
      return {
        ...answer,
        text,
        tokenIds,
        reroutes,
        status: { phase: 'done', finishReason, timeToFirstTokenMs, tokensPerSecond },
      };
    }
  }
}

/** A failure by the person's own hand is a stop. */
export function applyFailure(answer: Answer, error: SkeinError, wasStopped: boolean): Answer {
  return { ...answer, status: wasStopped ? { phase: 'stopped' } : { phase: 'failed', error } };
}

/** What the model is told: every earlier turn that got an answer, and the prompt. */
export function messagesFor(earlier: readonly Turn[], prompt: string): ChatMessage[] {
  const history = earlier
    .filter(({ answer }) => answer.status.phase !== 'failed' && answer.text !== '')
    .flatMap((turn): ChatMessage[] => [
      { role: 'user', content: turn.prompt },
      { role: 'assistant', content: turn.answer.text },
    ]);
  return [...history, { role: 'user', content: prompt }];
}
