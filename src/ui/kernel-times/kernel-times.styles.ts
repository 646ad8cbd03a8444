import { css } from 'lit';

export const kernelTimesStyles = css`
  p,
  caption {
    color: var(--color-muted);
    font-size: var(--text-small);
    text-align: start;
  }

  .scroll {
    overflow-x: auto;
  }

  table {
    width: 100%;
    border-collapse: collapse;
    font-size: var(--text-small);
    font-variant-numeric: tabular-nums;
  }

  th,
  td {
    padding: var(--space-1) var(--space-2);
    border-bottom: 1px solid var(--color-line);
    font-weight: 400;
    text-align: start;
    white-space: nowrap;
  }

  thead th {
    color: var(--color-muted);
  }

  .number {
    text-align: end;
  }
`;
