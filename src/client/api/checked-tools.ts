import type { ToolChoice, ToolDefinition } from './chat-query.ts';
import { badParam } from './request-body.ts';
import { repeatedName } from './tool-fields.ts';

/**
 * Tools, and a choice that they allow.
 * @throws SkeinError `bad-argument` for two tools of one name, and for a choice of a tool that is not there.
 */
export function checkedTools(
  tools: readonly ToolDefinition[],
  toolChoice: ToolChoice,
): { readonly tools: readonly ToolDefinition[]; readonly toolChoice: ToolChoice } {
  const repeated = repeatedName(tools);
  if (repeated !== null) throw badParam('tools', `has two tools named '${repeated}'. Rename one.`);
  const { kind } = toolChoice;
  if ((kind === 'required' || kind === 'named') && tools.length === 0) {
    throw badParam('tool_choice', "needs 'tools'.");
  }
  if (kind === 'named' && !tools.some(({ name }) => name === toolChoice.name)) {
    throw badParam('tool_choice.name', `is '${toolChoice.name}', which is not among the tools.`);
  }
  return { tools, toolChoice };
}
