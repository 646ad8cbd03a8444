import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { Marks } from './output-parser.ts';

/** How a model writes what is no plain text. */
export interface AnswerForm {
  /** Around its thoughts; null for a model that knows none. */
  readonly reasoning: Marks | null;
  /** Around its calls, which are `{"name": …, "arguments": {…}}`; null where its chat template writes none such. */
  readonly calls: Marks | null;
  /** Whether its template has a switch for thinking. */
  readonly hasThinkingSwitch: boolean;
  /** Whether its template writes thoughts that it was told to leave out. */
  readonly writesReasoning: boolean;
}

const REASONING_MARKS: readonly Marks[] = [
  { open: '<think>', close: '</think>' },
  { open: '[THINK]', close: '[/THINK]' },
];
const CALL_MARKS: Marks = { open: '<tool_call>', close: '</tool_call>' };
/** The variable of Qwen3's template, and of those after it. */
export const THINKING_SWITCH = 'enable_thinking';

export type FormTokenizer = Pick<Tokenizer, 'knowsMark' | 'templateMentions'>;

/** As its template and its vocabulary tell. */
export function answerForm(tokenizer: FormTokenizer): AnswerForm {
  const reasoning =
    REASONING_MARKS.find(({ open, close }) => tokenizer.knowsMark(open) && tokenizer.knowsMark(close)) ??
    null;
  const hasCalls = tokenizer.templateMentions('tools') && tokenizer.templateMentions(CALL_MARKS.open);
  return {
    reasoning,
    calls: hasCalls ? CALL_MARKS : null,
    hasThinkingSwitch: tokenizer.templateMentions(THINKING_SWITCH),
    writesReasoning: reasoning !== null && tokenizer.templateMentions(reasoning.close),
  };
}
