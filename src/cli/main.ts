import { Command, CommanderError } from 'commander';
import { SkeinError } from '../protocol/errors.ts';
import { chatCommand } from './chat/chat.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { generateCommand } from './generate.ts';
import { joinCommand } from './join.ts';
import { keysCommand } from './keys.ts';
import { modelsCommand } from './models.ts';
import { serveCommand } from './serve.ts';

const FAILURE = 1;
const WRONG_USAGE = 2;

const program = new Command('skein')
  .description('A mesh of browser tabs that together run a language model.')
  .showHelpAfterError('(--help shows options and examples)')
  .exitOverride();
program.addCommand(serveCommand());
program.addCommand(joinCommand());
program.addCommand(chatCommand());
program.addCommand(generateCommand());
program.addCommand(modelsCommand());
program.addCommand(keysCommand());
program.addCommand(doctorCommand());
for (const command of program.commands) command.copyInheritedSettings(program);

try {
  await program.parseAsync();
} catch (thrown) {
  process.exitCode = report(thrown);
}

/** @returns the exit code. */
function report(thrown: unknown): number {
  // commander has printed its own words already.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : WRONG_USAGE;
  console.error(`skein: ${SkeinError.from(thrown).message}`);
  return FAILURE;
}
