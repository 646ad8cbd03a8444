import type { GenerateEvent, GenerateRequest } from '../../client/generate.ts';
import { Observable } from '../../mesh/observable.ts';
import { SkeinError } from '../../protocol/errors.ts';
import type { ModelId, PeerId } from '../../protocol/ids.ts';
import { applyEvent, applyFailure, isUnderWay, messagesFor, NEW_ANSWER } from './conversation.ts';
import type { Answer, Turn } from './conversation.ts';
import type { SamplingSettings } from './sampling.ts';
import { samplingParams } from './sampling.ts';

/** Generates over the mesh. */
export interface Generator {
  /** This tab's id now. */
  readonly self: PeerId;
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
}

export interface ChatDeps {
  /** Null while there is no session. */
  readonly generator: () => Generator | null;
  /** A u32, so that the same question is not always answered alike. */
  readonly randomSeed: () => number;
}

/** One conversation: sends, streams, stops, retries. One answer at a time. */
export class ChatController {
  readonly #deps: ChatDeps;
  readonly #turns = new Observable<readonly Turn[]>([]);
  /** Of the answer under way. */
  #abort: AbortController | null = null;
  #nextId = 0;

  constructor(deps: ChatDeps) {
    this.#deps = deps;
  }

  get turns(): readonly Turn[] {
    return this.#turns.value;
  }

  get isAnswering(): boolean {
    return this.#abort !== null;
  }

  subscribe(listener: (turns: readonly Turn[]) => void): () => void {
    return this.#turns.subscribe(listener);
  }

  /** Does nothing for a blank text or while an answer is under way. */
  send(text: string, model: ModelId, settings: SamplingSettings): void {
    const prompt = text.trim();
    if (prompt === '' || this.isAnswering) return;
    this.#ask(this.turns, prompt, model, settings);
  }

  /** Asks the last question again, in place of its answer. */
  retry(model: ModelId, settings: SamplingSettings): void {
    const last = this.turns.at(-1);
    if (last === undefined || this.isAnswering) return;
    this.#ask(this.turns.slice(0, -1), last.prompt, model, settings);
  }

  /** What was written so far stays. */
  stop(): void {
    this.#abort?.abort();
  }

  startOver(): void {
    this.#abort?.abort();
    this.#abort = null;
    this.#turns.value = [];
  }

  #ask(earlier: readonly Turn[], prompt: string, model: ModelId, settings: SamplingSettings): void {
    const turn = { id: this.#nextId++, prompt, answer: NEW_ANSWER };
    const abort = new AbortController();
    this.#abort = abort;
    this.#turns.value = [...earlier, turn];
    const request: GenerateRequest = {
      model,
      prompt: { kind: 'chat', messages: messagesFor(earlier, prompt) },
      maxTokens: settings.maxTokens,
      sampling: samplingParams(settings, this.#deps.randomSeed()),
    };
    void this.#stream(turn, request, abort);
  }

  async #stream(turn: Turn, request: GenerateRequest, abort: AbortController): Promise<void> {
    let { answer } = turn;
    const show = (next: Answer) => {
      answer = next;
      // Started over, or asked again, in the meantime.
      if (this.#abort !== abort) return;
      // Before listeners hear of the end, so that they find a conversation that can go on.
      if (!isUnderWay(answer)) this.#abort = null;
      this.#turns.value = this.turns.map((other) => (other.id === turn.id ? { ...turn, answer } : other));
    };
    try {
      const generator = this.#deps.generator();
      if (generator === null) {
        throw new SkeinError(
          'server-lost',
          'There is no connection to the server. Wait until it is back, then try again.',
        );
      }
      for await (const event of generator.generate(request, abort.signal)) {
        if (event.type === 'route') answer = { ...answer, self: generator.self };
        show(applyEvent(answer, event));
      }
    } catch (thrown) {
      show(applyFailure(answer, SkeinError.from(thrown), abort.signal.aborted));
    }
  }
}
