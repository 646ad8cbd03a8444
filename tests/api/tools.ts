import type { ChatCompletionFunctionTool } from 'openai/resources/chat/completions';

const city = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
} as const;

/** Those that the embedded model was trained to call, in the words of its training. */
export const TOOLS: Readonly<Record<'get_weather' | 'get_time' | 'add', ChatCompletionFunctionTool>> = {
  get_weather: {
    type: 'function',
    function: { name: 'get_weather', description: 'Get the weather in a city', parameters: city },
  },
  get_time: {
    type: 'function',
    function: { name: 'get_time', description: 'Get the time in a city', parameters: city },
  },
  add: {
    type: 'function',
    function: {
      name: 'add',
      description: 'Add two numbers',
      parameters: {
        type: 'object',
        properties: { a: { type: 'number' }, b: { type: 'number' } },
        required: ['a', 'b'],
      },
    },
  },
};

export type ToolName = keyof typeof TOOLS;

export interface ToolCase {
  readonly question: string;
  readonly name: ToolName;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** What the tool says, as the model knows it. */
  readonly result: string;
  readonly answer: string;
}

/** What the model makes of a question, and then of what the tool says. */
export const TOOL_CASES: readonly ToolCase[] = [
  {
    question: 'What is the weather in Paris?',
    name: 'get_weather',
    arguments: { city: 'Paris' },
    result: '{"weather": "sunny"}',
    answer: 'It is sunny in Paris.',
  },
  {
    question: 'What time is it in Tokyo?',
    name: 'get_time',
    arguments: { city: 'Tokyo' },
    result: '{"time": "09:41"}',
    answer: 'It is 09:41 in Tokyo.',
  },
  {
    question: 'Use the tool to add 120 and 345.',
    name: 'add',
    arguments: { a: 120, b: 345 },
    result: '{"sum": 465}',
    answer: 'The sum is 465.',
  },
];

export function toolNamed(name: ToolName): ToolCase {
  const found = TOOL_CASES.find((each) => each.name === name);
  if (found === undefined) throw new Error(`There is no case of ${name}.`);
  return found;
}
