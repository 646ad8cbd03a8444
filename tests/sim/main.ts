import { outcomeOf } from './outcome.ts';
import { POLICIES } from './policies/all.ts';
import { SCENARIOS } from './scenarios/all.ts';
import { Simulation } from './simulation.ts';
const [scenarioName = 'paper', policies = 'skein', rates = ''] = process.argv.slice(2);
const scenario = SCENARIOS[scenarioName];
for (const rate of rates === '' ? (scenario?.rates ?? []) : rates.split(',').map(Number))
  for (const name of policies.split(',')) {
    const policy = POLICIES[name];
    if (!scenario || !policy) throw new Error('no such');
    const t = performance.now();
    const simulation = new Simulation({ scenario, policy, requestsPerSecond: rate, seed: 1 });
    simulation.run();
    console.log(
      name,
      rate,
      JSON.stringify(outcomeOf(simulation, scenario)),
      Math.round(performance.now() - t),
      'ms',
      simulation.queue.nowSeconds,
    );
    if (process.env['V'])
      for (const p of simulation.peers.values())
        console.log(
          p.device.name,
          JSON.stringify(p.slice),
          p.capacityTokenLayers,
          p.busySeconds,
          p.peakCacheShare,
        );
  }
