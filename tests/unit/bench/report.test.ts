import { describe, expect, it } from 'vitest';
import {
  allHold,
  atLeast,
  atMost,
  benchReport,
  exactly,
  formatReport,
  formatTable,
} from '../../bench/report.ts';

describe('checks', () => {
  it('hold at their limit', () => {
    expect([atLeast('a', 2, 2), atMost('b', 2, 2), exactly('c', 2, 2)].map(({ holds }) => holds)).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('fail beyond it, and say what was asked', () => {
    expect(atLeast('ratio', 1.99, 2)).toEqual({ name: 'ratio', value: 1.99, bound: '>= 2', holds: false });
    expect(atMost('ratio', 0.26, 0.25)).toEqual({
      name: 'ratio',
      value: 0.26,
      bound: '<= 0.25',
      holds: false,
    });
    expect(exactly('bad', 1, 0)).toEqual({ name: 'bad', value: 1, bound: '== 0', holds: false });
  });

  it('fail for what is not a number', () => {
    expect(atLeast('a', NaN, 0).holds || atMost('b', NaN, 0).holds || exactly('c', NaN, 0).holds).toBe(false);
  });

  it('all of a report hold, or it fails', () => {
    expect(allHold(benchReport('x', 'CPU', [], [atLeast('a', 1, 1)]))).toBe(true);
    expect(allHold(benchReport('x', 'CPU', [], [atLeast('a', 1, 1), atLeast('b', 0, 1)]))).toBe(false);
  });
});

it('aligns columns: words to the left, numbers to the right with four digits that count', () => {
  const text = formatTable({
    title: 'Kernels',
    rows: [
      { kernel: 'matvec', ms: 12.34567, GBps: 3 },
      { kernel: 'rope', ms: 0.123456, GBps: null },
    ],
  });
  expect(text).toBe(
    ['Kernels', 'kernel      ms  GBps', 'matvec   12.35     3', 'rope    0.1235     -'].join('\n'),
  );
});

it('prints the checks below the tables', () => {
  const report = benchReport('x', 'CPU', [{ title: 'T', rows: [{ a: 1 }] }], [atLeast('fast', 1, 2)]);
  expect(formatReport(report)).toMatch(
    /T\na\n1\n\nChecks\ncheck\s+value\s+bound\s+holds\nfast\s+1\s+>= 2\s+NO$/,
  );
});
