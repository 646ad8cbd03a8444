import { Command, InvalidArgumentError, Option } from 'commander';
import { SkeinError } from '../../src/protocol/errors.ts';
import { allHold, benchReport, formatReport } from '../bench/report.ts';
import { checksOf } from './compare.ts';
import type { Result } from './compare.ts';
import { outcomeOf } from './outcome.ts';
import { POLICIES } from './policies/all.ts';
import { markdownOf, tableOf } from './results-table.ts';
import type { Scenario } from './scenario.ts';
import { SCENARIOS } from './scenarios/all.ts';
import { Simulation } from './simulation.ts';

const FAILURE = 1;
const MAX_RATE = 1000;

interface SimOptions {
  readonly scenario: string;
  readonly policy: readonly string[];
  readonly rate: readonly number[] | undefined;
  readonly seed: number;
  readonly json: boolean;
  readonly plot: string | undefined;
  readonly page: string | undefined;
}

const program = new Command('sim')
  .description('Runs schedulers against each other on simulated meshes, the server’s own among them.')
  .addOption(
    new Option('--scenario <name>', 'the mesh and its load')
      .choices(Object.keys(SCENARIOS))
      .makeOptionMandatory(),
  )
  .option('--policy <names>', 'schedulers, with commas between them, or "all"', policyNames, ['skein'])
  .option('--rate <rates>', 'requests per second, with commas between them; the scenario has its own', rates)
  .option('--seed <n>', 'the same seed gives the same run', wholeSeed, 1)
  .option('--json', 'print one JSON object: the report', false)
  .option('--plot <folder>', 'draw the results into an SVG there')
  .option('--page <file>', 'put the table into this page, in the place of the one of the same scenario')
  .showHelpAfterError('(--help lists the options)')
  .action(async (options: SimOptions) => {
    try {
      await simulate(options);
    } catch (thrown) {
      console.error(`sim: ${SkeinError.from(thrown).message}`);
      process.exitCode = FAILURE;
    }
  });

await program.parseAsync();

async function simulate(options: SimOptions): Promise<void> {
  const scenario = SCENARIOS[options.scenario];
  if (scenario === undefined) throw new SkeinError('bad-argument', `No scenario ${options.scenario}.`);
  const results: Result[] = [];
  for (const requestsPerSecond of options.rate ?? scenario.rates) {
    for (const policy of options.policy) {
      results.push(runOne(scenario, policy, requestsPerSecond, options.seed));
    }
  }
  const table = tableOf(scenario, results);
  const name = `sim ${scenario.name}, seed ${options.seed}`;
  const report = benchReport(name, 'simulated', [table], checksOf(scenario.name, results));
  if (options.plot !== undefined) {
    const { writePlot } = await import('./plot.ts');
    console.error(`Drawn: ${await writePlot(scenario, results, options.plot)}`);
  }
  if (options.page !== undefined) {
    const { putIntoPage } = await import('./page.ts');
    const rate = options.rate === undefined ? '' : ` --rate ${options.rate.join(',')}`;
    const command = `npm run sim -- --scenario ${scenario.name} --policy ${options.policy.join(',')}${rate} --seed ${options.seed}`;
    const about = `${scenario.about}. Seed ${options.seed}, ${report.date.slice(0, 10)}: \`${command}\`.`;
    await putIntoPage(options.page, scenario.name, `${about}\n\n${markdownOf(results)}`);
  }
  if (options.json) console.log(JSON.stringify(report));
  else console.log(formatReport(report));
  if (!allHold(report)) process.exitCode = FAILURE;
}

function runOne(scenario: Scenario, policy: string, requestsPerSecond: number, seed: number): Result {
  const factory = POLICIES[policy];
  if (factory === undefined) throw new SkeinError('bad-argument', `No policy ${policy}.`);
  const startedAt = performance.now();
  const simulation = new Simulation({ scenario, policy: factory, requestsPerSecond, seed });
  simulation.run();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.error(`${policy} at ${requestsPerSecond} req/s: ${seconds} s`);
  return { policy, requestsPerSecond, outcome: outcomeOf(simulation, scenario) };
}

function policyNames(text: string): readonly string[] {
  const names = text === 'all' ? Object.keys(POLICIES) : text.split(',');
  const unknown = names.find((name) => POLICIES[name] === undefined);
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`"${unknown}" is none of ${Object.keys(POLICIES).join(', ')}.`);
  }
  return names;
}

function rates(text: string): readonly number[] {
  return text.split(',').map((part) => {
    const rate = Number(part);
    if (rate > 0 && rate <= MAX_RATE) return rate;
    throw new InvalidArgumentError(`"${part}" is no rate above 0 and up to ${MAX_RATE} requests a second.`);
  });
}

function wholeSeed(text: string): number {
  const seed = Number(text);
  if (Number.isSafeInteger(seed)) return seed;
  throw new InvalidArgumentError('It must be a whole number.');
}
