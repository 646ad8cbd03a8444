import { Command } from 'commander';
import { benchCommand } from './bench-command.ts';
import type { BenchDriver } from './bench-command.ts';

const SOFTWARE_FIRST: readonly BenchDriver[] = ['lavapipe', 'swiftshader', 'native'];

const program = new Command('bench')
  .description('Measures the engine, checks the outputs first, and prints what it must show.')
  .showHelpAfterError('(--help lists the benches and their options)');

program.addCommand(
  benchCommand(
    'device',
    'What the adapter can do: copy bandwidth and multiply-add rate.',
    SOFTWARE_FIRST,
    () => import('./device.ts'),
  ),
);

program.addCommand(
  benchCommand(
    'serving',
    'Many requests together against one at a time, and how busy the stages of a pipeline are.',
    SOFTWARE_FIRST,
    () => import('./serving.ts'),
  ),
);

await program.parseAsync();
