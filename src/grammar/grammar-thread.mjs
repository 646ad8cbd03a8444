/** The module that Node starts as the thread of grammars. Plain JavaScript, because a thread begins without a loader of TypeScript. */
import { parentPort } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const { serveGrammars } = await import('./serve-grammars.ts');
serveGrammars({
  post: (answers, transfer) => parentPort.postMessage(answers, transfer),
  listen: (onCommands) => parentPort.on('message', onCommands),
});
