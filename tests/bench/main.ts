import { Command, Option } from 'commander';
import { wholeNumber } from '../../src/cli/arguments.ts';
import { QUANTIZATIONS } from '../../src/protocol/quantization.ts';
import { benchCommand } from './bench-command.ts';
import type { BenchDriver } from './bench-command.ts';

const SOFTWARE_FIRST: readonly BenchDriver[] = ['lavapipe', 'swiftshader', 'native'];
const MAX_PROFILED_SEQUENCES = 1024;
const MAX_GATEWAY_SECONDS = 3600;

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
    'engine',
    'Decode and prefill against ONNX Runtime Web on the same weights, in one Chromium.',
    ['swiftshader', 'native'],
    () => import('./engine.ts'),
  ).option('--only <text>', 'the cases whose names contain this, such as "skein-tiny f32"'),
);

program.addCommand(
  benchCommand(
    'serving',
    'Many requests together against one at a time, and how busy the stages of a pipeline are.',
    SOFTWARE_FIRST,
    () => import('./serving.ts'),
  ),
);

program.addCommand(
  benchCommand(
    'gateway',
    'Sixty-four programs that stream answers over HTTP from a mesh of three stages.',
    SOFTWARE_FIRST,
    () => import('./gateway.ts'),
  )
    .option('--seconds <n>', 'how long they ask', wholeNumber(1, MAX_GATEWAY_SECONDS), 120)
    .addHelpText(
      'after',
      `
Server CPU per token is the processor time of the server's process, user and system, over the tokens of the answers: HTTP,
the gateway's text and routes, and the signaling beside them. What the peers compute is in other processes and not in it.`,
    ),
);

program.addCommand(
  benchCommand(
    'prefix',
    'Time to first token of a prompt that begins like one before it.',
    SOFTWARE_FIRST,
    () => import('./prefix.ts'),
  ),
);

program.addCommand(
  benchCommand(
    'formats',
    'Held-out likelihood of skein-tiny in every weight format, from the dequantised weights in float64.',
    SOFTWARE_FIRST,
    () => import('./formats.ts'),
  )
    .option('--only <text>', 'the formats whose names contain one of these, such as "GGUF,FP8"')
    .addOption(
      new Option('--texts <n>', 'only this many of the held-out texts')
        .argParser(Number)
        .conflicts('baseline'),
    )
    .option('--no-baseline', 'take the likelihood of bf16 from golden.json instead of computing it'),
);

program.addCommand(
  benchCommand(
    'sampling',
    'What a pass of the sampler costs, by what is asked of it.',
    SOFTWARE_FIRST,
    () => import('./sampling.ts'),
  ),
);

program.addCommand(
  benchCommand(
    'profile',
    'Time per kernel of decode steps and of a prefill, by the timestamps of the GPU.',
    SOFTWARE_FIRST,
    () => import('./profile.ts'),
  )
    .option('--model <location>', 'a model folder, URL or hub id instead of the embedded model')
    .option('--rows <n>', 'only a decode step of this many sequences', wholeNumber(1, MAX_PROFILED_SEQUENCES))
    .addOption(
      new Option('--quantize <format>', 'round the matrices').choices(QUANTIZATIONS).default('none'),
    ),
);

program.addCommand(
  benchCommand(
    'kernels',
    'The linear kernels against each other, by weight format and rows, as a share of what the adapter can do.',
    SOFTWARE_FIRST,
    () => import('./kernels.ts'),
  ),
);

program.addCommand(
  benchCommand(
    'attention',
    'The attention kernels of software adapters against those of hardware.',
    SOFTWARE_FIRST,
    () => import('./attention.ts'),
  ),
);

program.addCommand(
  benchCommand(
    'scheduler',
    'How long placement and routing take, by the size of the mesh, and how near the best placements are.',
    ['native'],
    () => import('./scheduler.ts'),
  ),
);

await program.parseAsync();
