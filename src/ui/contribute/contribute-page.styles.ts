import { css } from 'lit';

export const contributePageStyles = css`
  .page {
    max-width: calc(var(--measure) + 2 * var(--space-6));
    margin: 0 auto;
    padding: 0 var(--space-6) var(--space-12);
  }

  skein-status-line {
    border-bottom: 1px solid var(--color-line);
  }

  main {
    display: grid;
    gap: var(--space-6);
    padding-top: var(--space-8);
  }

  h1 {
    font-size: var(--text-title);
    letter-spacing: -0.015em;
  }

  h2 {
    font-size: var(--text-large);
  }

  .lead {
    max-width: 40rem;
    color: var(--color-muted);
  }

  .card {
    display: grid;
    gap: var(--space-4);
    padding: var(--space-6);
    border: 1px solid var(--color-line);
    border-radius: var(--radius);
    background: var(--color-surface);
  }

  .detail,
  .honest,
  .limit {
    color: var(--color-muted);
    font-size: var(--text-small);
    font-variant-numeric: tabular-nums;
  }

  .peer {
    color: var(--color-text);
    font-family: var(--font-mono);
  }

  .limit {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--space-2);
  }

  select {
    min-height: 2.5rem;
    padding: 0 var(--space-3);
    border: 1px solid var(--color-line-strong);
    border-radius: var(--radius-small);
    background: var(--color-surface);
    color: var(--color-text);
  }

  summary {
    width: fit-content;
    color: var(--color-muted);
    font-size: var(--text-small);
    cursor: pointer;
  }

  skein-kernel-times {
    display: block;
    margin-top: var(--space-2);
  }

  @media (max-width: 36rem) {
    .page {
      padding: 0 var(--space-4) var(--space-8);
    }

    .card {
      padding: var(--space-4);
    }
  }
`;
