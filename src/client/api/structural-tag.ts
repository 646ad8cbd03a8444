import type { AnswerShape, ChatQuery, JsonSchema, ToolDefinition } from './chat-query.ts';
import type { Marks } from './output-parser.ts';

/** Of xgrammar's structural tags, what is used here. */
type Format =
  | { readonly type: 'any_text' }
  | { readonly type: 'const_string'; readonly value: string }
  | { readonly type: 'json_schema'; readonly json_schema: JsonSchema }
  | { readonly type: 'sequence' | 'or'; readonly elements: readonly Format[] }
  | TagFormat
  | {
      readonly type: 'triggered_tags';
      readonly triggers: readonly string[];
      readonly tags: readonly TagFormat[];
      readonly at_least_one: boolean;
      readonly stop_after_first: boolean;
    }
  | {
      readonly type: 'tags_with_separator';
      readonly tags: readonly TagFormat[];
      readonly separator: string;
      readonly at_least_one: boolean;
      readonly stop_after_first: boolean;
    };
interface TagFormat {
  readonly type: 'tag';
  readonly begin: string;
  readonly content: Format;
  readonly end: string;
}

export interface TagOptions {
  readonly query: Pick<ChatQuery, 'toolChoice' | 'isParallel' | 'shape'>;
  /** That may be called now; empty where none may. */
  readonly tools: readonly ToolDefinition[];
  readonly calls: Marks | null;
  /** Around the thoughts that may come first; null where none may. */
  readonly reasoning: Marks | null;
  /** Whether the prompt has begun them. */
  readonly startsInReasoning: boolean;
}

/** What models write between thoughts and answer. */
const AFTER_REASONING = '\n\n';
const ANY_OBJECT: JsonSchema = { type: 'object', additionalProperties: true };

/**
 * What an answer has to keep to, as xgrammar's structural tag: calls that parse and fit their tools' parameters, at least one where one is
 * required, and the shape of a text.
 * @returns null for an answer that may be anything.
 */
export function structuralTag(options: TagOptions): string | null {
  const answer = answerFormat(options);
  return answer === null
    ? null
    : JSON.stringify({ type: 'structural_tag', format: afterReasoning(answer, options) });
}

function answerFormat({ query, tools, calls }: TagOptions): Format | null {
  const { toolChoice, isParallel, shape } = query;
  const schema = schemaOf(shape);
  const json: Format | null = schema === null ? null : { type: 'json_schema', json_schema: schema };
  if (tools.length === 0 || calls === null) return json;
  const named = tools.filter(({ name }) => toolChoice.kind !== 'named' || name === toolChoice.name);
  const tags = named.map((tool) => callTag(tool, calls));
  if (toolChoice.kind !== 'auto') {
    return {
      type: 'tags_with_separator',
      tags,
      separator: '\n',
      at_least_one: true,
      stop_after_first: !isParallel,
    };
  }
  // One call: xgrammar takes no choice between what ends by itself and what may go on.
  if (json !== null) return { type: 'or', elements: [json, ...tags] };
  return {
    type: 'triggered_tags',
    triggers: [calls.open],
    tags,
    at_least_one: false,
    stop_after_first: !isParallel,
  };
}

function schemaOf(shape: AnswerShape): JsonSchema | null {
  switch (shape.kind) {
    case 'text':
      return null;
    case 'json-object':
      return ANY_OBJECT;
    case 'json-schema':
      return shape.schema;
  }
}

function callTag({ name, parameters = ANY_OBJECT }: ToolDefinition, { open, close }: Marks): TagFormat {
  return {
    type: 'tag',
    begin: `${open}\n{"name": ${JSON.stringify(name)}, "arguments": `,
    content: { type: 'json_schema', json_schema: parameters },
    end: `}\n${close}`,
  };
}

/** Thoughts are free; a model that only may think may also answer at once. */
function afterReasoning(answer: Format, { reasoning, startsInReasoning }: TagOptions): Format {
  if (reasoning === null) return answer;
  const thoughts: TagFormat = {
    type: 'tag',
    begin: startsInReasoning ? '' : reasoning.open,
    content: { type: 'any_text' },
    end: reasoning.close,
  };
  const thoughtful: Format = {
    type: 'sequence',
    elements: [thoughts, { type: 'const_string', value: AFTER_REASONING }, answer],
  };
  return startsInReasoning ? thoughtful : { type: 'or', elements: [thoughtful, answer] };
}
