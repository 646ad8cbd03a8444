import type { ModelCard } from '../../protocol/signaling.ts';
import { answerChats } from '../api/answer-chat.ts';
import type { AnswerEvent } from '../api/answer-events.ts';
import { newAnswerHead } from '../api/answer-head.ts';
import type { AnswerHead } from '../api/answer-head.ts';
import type { ApiModels } from '../api/api-models.ts';
import type { ChatQuery } from '../api/chat-query.ts';
import { OnceStream } from './once-stream.ts';
import type { AnswerProgress, ProgressListener } from './progress.ts';
import type { RequestOptions } from './requests.ts';
import { answerProgress, tellCaller } from './tell.ts';
import type { AnswerStream } from './types.ts';
import type { Work } from './work.ts';

/** A question of one API, checked. */
export interface Question {
  readonly model: string;
  readonly queries: readonly ChatQuery[];
  readonly stream: boolean;
}

/** What one API makes of requests and of answers. */
export interface AnswerApi<Asked extends Question, Whole, Chunk> {
  /** @throws SkeinError `bad-argument`. */
  parse(json: unknown): Asked;
  /** What the ids of its objects begin with. */
  readonly idPrefix: string;
  whole(asked: Asked, events: AsyncIterable<AnswerEvent>, card: ModelCard, head: AnswerHead): Promise<Whole>;
  chunks(
    asked: Asked,
    events: AsyncIterable<AnswerEvent>,
    card: ModelCard,
    head: AnswerHead,
  ): AsyncGenerator<Chunk, void, void>;
}

export interface AnswersDeps {
  readonly models: ApiModels;
  readonly work: Work;
  /** Hears of every answer. */
  readonly onProgress: ProgressListener<AnswerProgress>;
}

/** Asks the mesh. */
export class Answers {
  readonly #deps: AnswersDeps;

  constructor(deps: AnswersDeps) {
    this.#deps = deps;
  }

  /** @throws SkeinError what is wrong with the request, `model-missing`, why its tokenizer cannot be had, and what ends an answer. */
  async create<Asked extends Question, Whole, Chunk>(
    api: AnswerApi<Asked, Whole, Chunk>,
    body: unknown,
    { signal, onProgress }: RequestOptions = {},
  ): Promise<Whole | AnswerStream<Chunk>> {
    const { models, work } = this.#deps;
    const asked = api.parse(body);
    const head = newAnswerHead();
    const { card, ...model } = await work.during(signal, (ending) => models.open(asked.model, ending));
    const events = (ending: AbortSignal) => {
      const answers = answerChats(asked.queries, { card, ...model }, ending);
      return this.#told(answers, api.idPrefix + head.id, onProgress);
    };
    if (!asked.stream) {
      return work.during(signal, (ending) => api.whole(asked, events(ending), card, head));
    }
    return new OnceStream(() => {
      const underWay = work.begin([signal]);
      return { ...underWay, chunks: api.chunks(asked, events(underWay.ending), card, head) };
    });
  }

  /** Passes events on, and says how the answer fares. */
  async *#told(
    events: AsyncIterable<AnswerEvent>,
    id: string,
    onProgress: ProgressListener<AnswerProgress> | undefined,
  ): AsyncGenerator<AnswerEvent, void, void> {
    for await (const event of events) {
      if (event.type === 'progress') {
        const progress = answerProgress(id, event);
        this.#deps.onProgress(progress);
        if (onProgress) tellCaller(onProgress, progress);
      }
      yield event;
    }
  }
}
