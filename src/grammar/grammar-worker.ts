import type { GrammarCommand } from './grammar-messages.ts';
import { serveGrammars } from './serve-grammars.ts';

/** The module that a browser starts as the worker of grammars. */
const scope = self as unknown as {
  postMessage(message: unknown, transfer: readonly Transferable[]): void;
  onmessage: (event: MessageEvent<readonly GrammarCommand[]>) => void;
};
serveGrammars({
  post: (answers, transfer) => scope.postMessage(answers, transfer),
  listen: (onCommands) => (scope.onmessage = ({ data }) => onCommands(data)),
});
