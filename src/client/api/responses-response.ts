import type { AnswerEnd, AnswerEvent, Usage } from './answer-events.ts';
import type { AnswerHead } from './answer-head.ts';
import { apiProblem } from './api-problem.ts';
import { OutputItems } from './responses-items.ts';
import type { OutputEvent, OutputItem } from './responses-items.ts';
import type { ResponsesQuestion } from './responses-request.ts';
import { unfinished } from './unfinished.ts';

/** A numbered event of the stream; `type` is also the name of the server-sent event. */
export interface ResponseEvent extends OutputEvent {
  readonly sequence_number: number;
}

/** A response as the API has it. */
export type ResponseObject = Readonly<Record<string, unknown>> & {
  readonly object: 'response';
  readonly status: 'in_progress' | 'completed' | 'incomplete' | 'failed';
  readonly output: readonly OutputItem[];
};

/**
 * The stream of a response: `response.created` with the first piece of the answer, and an end that is `response.completed`,
 * `response.incomplete` or `response.failed`.
 * @throws what the answer throws: before anything is said, or after `response.failed`.
 */
export async function* responseEvents(
  question: ResponsesQuestion,
  answer: AsyncIterable<AnswerEvent>,
  head: AnswerHead,
): AsyncGenerator<ResponseEvent, void, void> {
  const items = new OutputItems(head.id);
  let end: AnswerEnd = 'stop';
  let isOver = false;
  let said = 0;
  const say = (event: OutputEvent): ResponseEvent => ({ ...event, sequence_number: said++ });
  const tell = (status: ResponseObject['status'], usage: Usage | null, thrown: unknown = null) => {
    const name = status === 'in_progress' && said === 0 ? 'created' : status;
    const response = responseObject(question, head, { status, output: [...items.ended], usage, thrown });
    return say({ type: `response.${name}`, response });
  };

  try {
    for await (const event of answer) {
      if (event.type === 'prompt' || event.type === 'progress') continue;
      if (said === 0) {
        yield tell('in_progress', null);
        yield tell('in_progress', null);
      }
      switch (event.type) {
        case 'end':
          end = event.end;
          break;
        case 'done':
          isOver = true;
          for (const last of items.end(end === 'length')) yield say(last);
          yield tell(end === 'length' ? 'incomplete' : 'completed', event.usage);
          break;
        default:
          for (const news of items.write(event)) yield say(news);
      }
    }
    if (!isOver) throw unfinished();
  } catch (thrown) {
    if (said > 0) yield tell('failed', null, thrown);
    throw thrown;
  }
}

/** The whole response: what the last event of its stream has. @throws what the answer throws. */
export async function wholeResponse(
  question: ResponsesQuestion,
  answer: AsyncIterable<AnswerEvent>,
  head: AnswerHead,
): Promise<ResponseObject> {
  let response: unknown;
  for await (const event of responseEvents(question, answer, head)) response = event['response'] ?? response;
  return response as ResponseObject;
}

interface Outcome {
  readonly status: ResponseObject['status'];
  readonly output: readonly OutputItem[];
  readonly usage: Usage | null;
  /** Null where nothing failed. */
  readonly thrown: unknown;
}

function responseObject(
  { query, echo }: ResponsesQuestion,
  { id, createdSeconds }: AnswerHead,
  { status, output, usage, thrown }: Outcome,
): ResponseObject {
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: createdSeconds,
    status,
    background: false,
    error: thrown === null ? null : failureOf(thrown),
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    model: query.model,
    output,
    ...echo,
    previous_response_id: null,
    service_tier: 'default',
    store: false,
    truncation: 'disabled',
    usage: usage === null ? null : usageOf(usage),
  };
}

/** In the few words that the API has for it. */
function failureOf(thrown: unknown): object {
  const { status, message } = apiProblem(thrown);
  const code = status === 429 ? 'rate_limit_exceeded' : status === 400 ? 'invalid_prompt' : 'server_error';
  return { code, message };
}

function usageOf({ promptTokens, cachedTokens, completionTokens, reasoningTokens }: Usage): object {
  return {
    input_tokens: promptTokens,
    // Nothing is written to a cache for a price.
    input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: promptTokens + completionTokens,
  };
}
