import { cpus } from 'node:os';

/** One thing a bench must show. A check that does not hold makes the bench end with exit code 1. */
export interface Check {
  readonly name: string;
  readonly value: number;
  /** A comparison and its limit, such as `>= 2`. */
  readonly bound: string;
  readonly holds: boolean;
}

export type Cell = string | number | null;

/** Rows with the same keys, which are the headings; units belong into the keys. */
export interface Table {
  readonly title: string;
  readonly rows: readonly Readonly<Record<string, Cell>>[];
}

export interface BenchReport {
  readonly name: string;
  /** The adapter that computed, and the machine. */
  readonly hardware: string;
  /** ISO 8601. */
  readonly date: string;
  readonly tables: readonly Table[];
  readonly checks: readonly Check[];
}

/** A report of now and this machine. @param adapterName what computed: an `EngineDevice.adapterName`, or `CPU`. */
export function benchReport(
  name: string,
  adapterName: string,
  tables: readonly Table[],
  checks: readonly Check[],
): BenchReport {
  const processors = cpus();
  const machine = `${processors[0]?.model.trim() ?? 'unknown CPU'}, ${processors.length} cores`;
  return { name, hardware: `${adapterName}; ${machine}`, date: new Date().toISOString(), tables, checks };
}

/** NaN holds no bound. */
export function atLeast(name: string, value: number, limit: number): Check {
  return { name, value, bound: `>= ${limit}`, holds: value >= limit };
}

/** NaN holds no bound. */
export function atMost(name: string, value: number, limit: number): Check {
  return { name, value, bound: `<= ${limit}`, holds: value <= limit };
}

/** For counts: mismatches that must be 0, dispatches that must be 7. */
export function exactly(name: string, value: number, expected: number): Check {
  return { name, value, bound: `== ${expected}`, holds: value === expected };
}

export function allHold({ checks }: BenchReport): boolean {
  return checks.every(({ holds }) => holds);
}

/** The report for people: aligned tables, then the checks. */
export function formatReport({ name, hardware, date, tables, checks }: BenchReport): string {
  const parts = [`${name}: ${hardware}, ${date}`, ...tables.map(formatTable)];
  if (checks.length > 0) {
    const rows = checks.map(({ holds, name: check, value, bound }) => ({
      check,
      value,
      bound,
      holds: holds ? 'yes' : 'NO',
    }));
    parts.push(formatTable({ title: 'Checks', rows }));
  }
  return parts.join('\n\n');
}

export function formatTable({ title, rows }: Table): string {
  const headings = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [headings, ...rows.map((row) => headings.map((heading) => formatCell(row[heading])))];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const isNumeric = headings.map((heading) => rows.every((row) => typeof row[heading] !== 'string'));
  const aligned = lines.map((line) =>
    line
      .map((text, column) => {
        const width = widths[column] ?? 0;
        return isNumeric[column] === true ? text.padStart(width) : text.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return [title, ...aligned].join('\n');
}

/** Four digits that count; JSON keeps all of them. */
function formatCell(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return '-';
  if (typeof cell === 'string') return cell;
  if (Number.isInteger(cell) || !Number.isFinite(cell)) return String(cell);
  const magnitude = Math.floor(Math.log10(Math.abs(cell)));
  if (magnitude < -4) return cell.toExponential(3);
  return cell.toFixed(Math.min(6, Math.max(0, 3 - magnitude)));
}
