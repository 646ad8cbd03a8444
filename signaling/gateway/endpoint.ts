import type { AnswerEvent } from '../../src/client/api/answer-events.ts';
import type { ApiModel, ApiModels } from '../../src/client/api/api-models.ts';
import type { ChatQuery } from '../../src/client/api/chat-query.ts';
import type { Dialect } from './dialect.ts';
import type { ServerSentEvent } from './event-stream.ts';

/** A question that was understood, and how its API tells the answer. */
export interface Asked {
  readonly model: string;
  readonly isStream: boolean;
  readonly queries: readonly ChatQuery[];
  /** The answer as one object. */
  whole(events: AsyncIterable<AnswerEvent>, model: ApiModel): Promise<object>;
  /** The answer as it comes. */
  stream(events: AsyncIterable<AnswerEvent>, model: ApiModel): AsyncGenerator<ServerSentEvent, void, void>;
}

interface EndpointBase {
  readonly path: string;
  /** For the log and for figures. */
  readonly name: string;
  readonly dialect: Dialect;
}

/** Where models are asked something. */
export interface QuestionEndpoint extends EndpointBase {
  readonly kind: 'question';
  /** @throws SkeinError `bad-argument` naming the parameter. */
  ask(json: unknown): Asked;
}

/** Where the gateway answers by itself. */
export interface PlainEndpoint extends EndpointBase {
  readonly kind: 'plain';
  /** @param onModel is told the name of a model that is served, once it is known. */
  respond(
    json: unknown,
    models: ApiModels,
    options: { readonly signal: AbortSignal; readonly onModel: (id: string) => void },
  ): Promise<object>;
}

export type Endpoint = QuestionEndpoint | PlainEndpoint;
