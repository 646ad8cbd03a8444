import { Command } from 'commander';
import { chatCommand } from './chat/chat.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { generateCommand } from './generate.ts';
import { joinCommand } from './join.ts';
import { keysCommand } from './keys.ts';
import { modelsCommand } from './models.ts';
import { packageFacts } from './package-facts.ts';
import { serveCommand } from './serve.ts';

const HELP = `
Examples:
  $ skein serve                          a mesh at http://localhost:3000
  $ skein join localhost:3000            lend it this machine's GPU
  $ skein chat                           talk with it in the terminal
  $ skein generate --chat "Hello"        without a mesh: this machine answers
  $ skein models                         what it offers, and who holds it
  $ skein doctor                         what would stop this machine from helping
skein <command> --help says more about each.`;

/** The whole command line: every command with its options. */
export function skeinProgram(): Command {
  const program = new Command('skein')
    .description('A mesh of browser tabs that together run a language model.')
    .version(packageFacts().version, '-V, --version', 'print the version')
    .addHelpText('after', HELP)
    .showHelpAfterError('(--help shows options and examples)')
    .showSuggestionAfterError()
    .exitOverride();
  const commands = [
    serveCommand(),
    joinCommand(),
    chatCommand(),
    generateCommand(),
    modelsCommand(),
    doctorCommand(),
    keysCommand(),
  ];
  for (const command of commands) {
    program.addCommand(command);
    inherit(command, program);
  }
  return program;
}

/** Also by commands of commands. */
function inherit(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
}
