import { SkeinError } from '../protocol/errors.ts';
import { GrammarDesk } from './grammar-desk.ts';
import type { GrammarAnswer, GrammarCommand } from './grammar-messages.ts';
import type { GrammarScope } from './grammar-port.ts';
import { loadXgrammar } from './xgrammar.ts';

/**
 * What a worker of grammars does from its start on. What comes together is answered together, so that whoever waits for many masks
 * gets them at once; but compiling takes long, and is answered when it is done.
 */
export function serveGrammars(scope: GrammarScope): void {
  const desk = loadXgrammar().then(
    (xgrammar) => new GrammarDesk(xgrammar),
    (thrown: unknown) => SkeinError.from(thrown),
  );
  // Nothing is answered so far: it says that from here on, time is that of grammars.
  let queue: Promise<void> = desk.then(() => scope.post([], []));
  scope.listen((commands) => {
    queue = queue.then(() => answerAll(commands));
  });

  async function answerAll(commands: readonly GrammarCommand[]): Promise<void> {
    const opened = await desk;
    let answers: GrammarAnswer[] = [];
    const post = () => {
      if (answers.length > 0) scope.post(answers, answers.flatMap(maskBuffers));
      answers = [];
    };
    for (const command of commands) {
      if (command.type !== 'accept') post();
      const answer = opened instanceof SkeinError ? refusal(command, opened) : await opened.perform(command);
      if (answer !== null) answers.push(answer);
      if (command.type !== 'accept') post();
    }
    post();
  }
}

function refusal(command: GrammarCommand, error: SkeinError): GrammarAnswer | null {
  return 'call' in command ? { call: command.call, error: error.toShape(), isSpent: true } : null;
}

function maskBuffers(answer: GrammarAnswer): ArrayBuffer[] {
  return 'mask' in answer && answer.mask !== null ? [answer.mask.buffer] : [];
}
