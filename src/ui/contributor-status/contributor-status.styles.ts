import { css } from 'lit';

export const contributorStatusStyles = css`
  section {
    display: grid;
    gap: var(--space-3);
  }

  .phase {
    font-weight: 600;
  }

  .detail {
    color: var(--color-muted);
    font-size: var(--text-small);
    font-variant-numeric: tabular-nums;
  }

  progress {
    width: 100%;
    height: 0.6rem;
    border: 0;
    border-radius: var(--radius-round);
    background: var(--color-raised);
    accent-color: var(--color-accent);
    overflow: hidden;
  }

  progress::-webkit-progress-bar {
    background: var(--color-raised);
  }

  progress::-webkit-progress-value {
    background: var(--color-accent);
    transition: inline-size var(--fast);
  }

  dl {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr));
    gap: var(--space-3);
    margin: 0;
  }

  dt {
    color: var(--color-muted);
    font-size: var(--text-small);
  }

  dd {
    margin: 0;
    font-size: var(--text-large);
    font-variant-numeric: tabular-nums;
  }

  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: var(--space-2);
  }
`;
