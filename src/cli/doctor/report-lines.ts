import type { Colours } from '../terminal.ts';
import type { Finding } from './finding.ts';

const WORDS = { ok: 'ok', warning: 'warning', problem: 'PROBLEM' } as const;
const VERDICT_WIDTH = 9;
const CHECK_WIDTH = 11;

/** One line for each finding, what to do under it, and what it comes to. */
export function reportLines(findings: readonly Finding[], colours: Colours): string[] {
  const paint = { ok: colours.green, warning: colours.yellow, problem: colours.red };
  const lines = findings.flatMap(({ check, verdict, found, advice }) => {
    const line = `${paint[verdict](WORDS[verdict].padEnd(VERDICT_WIDTH))}${check.padEnd(CHECK_WIDTH)}${found}`;
    return advice === undefined
      ? [line]
      : [line, `${' '.repeat(VERDICT_WIDTH + CHECK_WIDTH)}${colours.dim(advice)}`];
  });
  return [...lines, '', summary(findings)];
}

function summary(findings: readonly Finding[]): string {
  const count = (verdict: Finding['verdict']) =>
    findings.filter((finding) => finding.verdict === verdict).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  if (problems > 0)
    return `${problems === 1 ? 'A problem stops' : `${problems} problems stop`} this machine from helping.`;
  if (warnings > 0)
    return `This machine can help; ${warnings === 1 ? 'one thing' : `${warnings} things`} could be better.`;
  return 'This machine can help. Lend it with: skein join';
}
