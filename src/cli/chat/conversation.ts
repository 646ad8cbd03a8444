import * as v from 'valibot';
import { SkeinError } from '../../protocol/errors.ts';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';

const turnSchema = v.object({ question: v.string(), answer: v.string() });
const savedSchema = v.object({
  /** Of this format. */
  skeinChat: v.literal(1),
  model: v.string(),
  system: v.nullable(v.string()),
  turns: v.array(turnSchema),
});

/** A question and what came of it, which may have been stopped. */
export type ChatTurn = v.InferOutput<typeof turnSchema>;

/** What was said so far. */
export interface Conversation {
  /** What the model is told before everything else. */
  readonly system: string | null;
  readonly turns: readonly ChatTurn[];
}

export const NEW_CONVERSATION: Conversation = { system: null, turns: [] };

/** What the model is told: turns without an answer are left out. */
export function messagesOf({ system, turns }: Conversation, question: string): ChatMessage[] {
  return [
    ...(system === null ? [] : [{ role: 'system' as const, content: system }]),
    ...turns
      .filter(({ answer }) => answer !== '')
      .flatMap((turn): ChatMessage[] => [
        { role: 'user', content: turn.question },
        { role: 'assistant', content: turn.answer },
      ]),
    { role: 'user', content: question },
  ];
}

export function saveConversation({ system, turns }: Conversation, model: string): string {
  return `${JSON.stringify({ skeinChat: 1, model, system, turns }, null, 2)}\n`;
}

/** @throws SkeinError `bad-argument` for anything that `saveConversation` did not make. */
export function loadConversation(json: string): {
  readonly conversation: Conversation;
  readonly model: string;
} {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), savedSchema), json);
  if (!parsed.success) {
    const [{ message }] = parsed.issues;
    throw new SkeinError('bad-argument', `It is no conversation that /save kept: ${message}.`);
  }
  const { model, system, turns } = parsed.output;
  return { conversation: { system, turns }, model };
}
