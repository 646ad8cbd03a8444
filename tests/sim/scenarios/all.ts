import type { Scenario } from '../scenario.ts';
import { PAPER } from './paper.ts';

/** Every scenario, by its name. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = Object.fromEntries(
  [PAPER].map((scenario) => [scenario.name, scenario]),
);
