import { Command } from 'commander';
import { wholeNumber } from '../../src/cli/arguments.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { atLeast, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { prepareRig } from '../rig/prepare.ts';
import { findTurnserver } from './coturn.ts';
import { runTurnTest } from './turn.ts';
import type { TurnTestResult } from './turn.ts';

interface Options {
  readonly requests: number;
  readonly json: boolean;
}

const options = new Command('turn')
  .description('Two Node peers, a tab and a requester that reach each other over a real coturn only.')
  .option('--requests <n>', 'golden questions', wholeNumber(1, 1000), 6)
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Options>();

/** First and last stage, at least, are linked to the requester, and the tab to two neighbours in the ring. */
const MIN_LINKS = 2;

function turnReport({ adapter, load, peers, requesterLinks, tabLinks, usage }: TurnTestResult): BenchReport {
  const links = [...requesterLinks, ...tabLinks];
  const relayed = links.filter(({ local, remote }) => local === 'relay' && remote === 'relay');
  return benchReport(
    'turn',
    adapter,
    [
      {
        title: 'Answers over a relay only',
        rows: [
          {
            requests: load.requests,
            wrong: load.wrong,
            lost: load.lost,
            'routes after the first': load.reroutes,
            tokens: load.tokens,
            'links seen': links.length,
            'bytes relayed': usage.bytes,
          },
        ],
      },
    ],
    [
      exactly('answers that are wrong', load.wrong, 0),
      exactly('answers that are lost', load.lost, 0),
      atLeast('answers', load.requests, options.requests),
      atLeast('links of the requester', requesterLinks.length, MIN_LINKS),
      atLeast('links of the tab', tabLinks.length, MIN_LINKS),
      exactly('links with an end that is no relay', links.length - relayed.length, 0),
      exactly(
        'peers without an address at the relay',
        peers.filter((peer) => !usage.peers.has(peer)).length,
        0,
      ),
      exactly('credentials refused', usage.refused.length, 0),
      atLeast('bytes relayed for each token', usage.bytes / load.tokens, 2 * HIDDEN_SIZE),
    ],
  );
}

/** Of the embedded model: each token's activations alone are twice as many bytes, at two hops. */
const HIDDEN_SIZE = 256;

async function run(): Promise<BenchReport> {
  const turnserver = findTurnserver();
  const { chromiumPath, vulkanDrivers } = prepareRig();
  if (chromiumPath === null) throw new SkeinError('no-adapter', 'There is no Chromium. Run: npm test');
  return turnReport(
    await runTurnTest({
      turnserver,
      chromiumPath,
      vulkanDriver: vulkanDrivers.lavapipe ?? null,
      requests: options.requests,
      onProgress: (line) => console.error(line),
    }),
  );
}

// WebRTC keeps threads of its own.
process.exit(await tellReport('turn', options.json, run));
