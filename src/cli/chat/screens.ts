import type { Colours } from '../terminal.ts';
import type { ChatOutcome, ChatScreen } from './chat-loop.ts';

type Output = Pick<NodeJS.WritableStream, 'write'>;

/** Answers on one output, and everything else, in dim words, on another or the same. */
export function plainScreen(answers: Output, notes: Output, colours: Colours): ChatScreen {
  let isInAnswer = false;
  const endLine = () => {
    if (isInAnswer) answers.write('\n');
    isInAnswer = false;
  };
  return {
    write: (text) => {
      if (text === '') return;
      isInAnswer = !text.endsWith('\n');
      answers.write(text);
    },
    endAnswer: endLine,
    note: (line) => {
      if (notes === answers) endLine();
      notes.write(`${colours.dim(line)}\n`);
    },
    report: () => undefined,
  };
}

/** One JSON object a line for each answer; notes on another output. */
export function jsonScreen(answers: Output, notes: Output): ChatScreen {
  return {
    write: () => undefined,
    endAnswer: () => undefined,
    note: (line) => void notes.write(`${line}\n`),
    report: (outcome) => void answers.write(`${JSON.stringify(outcomeObject(outcome))}\n`),
  };
}

function outcomeObject(outcome: ChatOutcome): object {
  const { kind, question } = outcome;
  switch (kind) {
    case 'done': {
      const { result } = outcome;
      const { text, finishReason, promptTokens, cachedTokens, timeToFirstTokenMs, tokensPerSecond } = result;
      const tokens = result.tokenIds.length;
      const rates = { timeToFirstTokenMs, tokensPerSecond, reroutes: result.reroutes };
      return { question, text, finishReason, promptTokens, cachedTokens, tokens, ...rates };
    }
    case 'stopped':
      return { question, text: outcome.text, finishReason: 'stopped' };
    case 'failed':
      return { question, text: outcome.text, finishReason: 'failed', error: outcome.error.toShape() };
  }
}
