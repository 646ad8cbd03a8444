import type { Scenario } from '../scenario.ts';
import { BROWSER_HOME, BROWSER_PUBLIC, FLASH_CROWD } from './browser.ts';
import { PAPER } from './paper.ts';

/** Every scenario, by its name. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = Object.fromEntries(
  [PAPER, BROWSER_HOME, BROWSER_PUBLIC, FLASH_CROWD].map((scenario) => [scenario.name, scenario]),
);
