import type { ApiModel } from '../../../../src/client/api/api-models.ts';
import type { AnswerEvent } from '../../../../src/client/api/answer-events.ts';
import type { ChatQuery } from '../../../../src/client/api/chat-query.ts';
import { FolderSource } from '../../../../src/model/folder-source.ts';
import type { ModelId } from '../../../../src/protocol/ids.ts';
import { GREEDY } from '../../../../src/protocol/sampling.ts';
import type { ModelCard } from '../../../../src/protocol/signaling.ts';
import type { OpenRequest } from '../../../../src/protocol/stage.ts';
import { Tokenizer } from '../../../../src/tokenizer/tokenizer.ts';
import { GenerationMesh } from '../generation-mesh.ts';

export const TINY = await Tokenizer.load(new FolderSource('public/models/skein-tiny'));
export const STOP_TOKEN = 2047;
/** The most that one request may have, as the card says. */
export const CONTEXT_TOKENS = 256;

export const CARD: ModelCard = {
  id: 'adding-machine' as ModelId,
  url: '/models/adding-machine/',
  quantization: 'none',
  cache: 'f32',
  activations: 'f32',
  layerCount: 2,
  hiddenSize: 2,
  contextLength: CONTEXT_TOKENS,
  bytesPerLayer: 1,
  embeddingBytes: 1,
  headBytes: 1,
  multiplyAddsPerLayer: 1,
  headMultiplyAdds: 1,
  cacheBytesPerTokenPerLayer: 1,
};

/** A mesh of one real stage, whose machine says what it is told instead of what it computes. */
export class ScriptedMesh {
  readonly mesh = new GenerationMesh(1, 1);
  /** Every request that was opened, in order. */
  readonly opened: OpenRequest[] = [];

  /** @param answer to a request, as text; its stop token follows. */
  constructor(
    answer: (request: OpenRequest) => string,
    private readonly tokenizer: Tokenizer = TINY,
  ) {
    const { machine } = this.mesh.at(0);
    const open = machine.open.bind(machine);
    machine.open = (request, ...rest) => {
      this.opened.push(request);
      return open(request, ...rest);
    };
    machine.tamper = (outputs) =>
      outputs.map((output) => {
        const request = machine.sequences.get(output.requestId)?.request;
        if (output.kind !== 'token' || request === undefined) return output;
        const index = output.position - request.promptTokens;
        const tokenId = tokenizer.encode(answer(request))[index] ?? STOP_TOKEN;
        const top = Array.from({ length: request.sampling.topLogProbabilities }, (_, rank) => ({
          tokenId: 65 + rank,
          logProbability: -1 - rank,
        }));
        return { ...output, tokenId, logProbability: -0.5 - index, topLogProbabilities: top };
      });
  }

  model(changes: Partial<ApiModel> = {}): ApiModel {
    const { tokenizer } = this;
    return { card: CARD, tokenizer, deps: this.mesh.deps({ tokenizer }), ...changes };
  }
}

export function query(changes: Partial<ChatQuery> = {}): ChatQuery {
  return {
    model: CARD.id,
    prompt: { kind: 'chat', messages: [{ role: 'user', content: 'Hello' }] },
    tools: [],
    toolChoice: { kind: 'auto' },
    isParallel: true,
    shape: { kind: 'text' },
    sampling: GREEDY,
    maxTokens: null,
    stopStrings: [],
    thinks: null,
    choices: 1,
    ...changes,
  };
}

export async function all(events: AsyncIterable<AnswerEvent>): Promise<AnswerEvent[]> {
  const collected: AnswerEvent[] = [];
  for await (const event of events) collected.push(event);
  return collected;
}

/** What a choice says, thinks and calls, in the order in which it does. */
export function spoken(events: readonly AnswerEvent[], choice = 0): string {
  return events
    .map((event) => {
      if (!('choice' in event) || event.choice !== choice) return '';
      switch (event.type) {
        case 'text':
          return event.text;
        case 'reasoning':
          return `(${event.text})`;
        case 'tool-call':
          return `[${event.name}]`;
        case 'tool-arguments':
          return event.json;
        case 'end':
          return ` ${event.end}`;
        default:
          return '';
      }
    })
    .join('')
    .replaceAll(')(', '');
}
