import { Option } from 'commander';
import type { Command } from 'commander';
import { ACTIVATIONS } from '../protocol/activations.ts';
import { CACHE_FORMATS } from '../protocol/cache-format.ts';
import { QUANTIZATIONS } from '../protocol/quantization.ts';

/** What tabs make of a model when they load it. @param quantizeWords what `--quantize` is for. */
export function addFormatOptions(command: Command, quantizeWords: string): Command {
  return command
    .addOption(new Option('--quantize <format>', quantizeWords).choices(QUANTIZATIONS).default('none'))
    .addOption(
      new Option('--cache <format>', 'how tabs keep keys and values').choices(CACHE_FORMATS).default('f32'),
    )
    .addOption(
      new Option('--activations <format>', 'what quantised matrices are multiplied with')
        .choices(ACTIVATIONS)
        .default('f32'),
    );
}
