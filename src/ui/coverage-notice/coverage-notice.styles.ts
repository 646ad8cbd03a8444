import { css } from 'lit';

export const coverageNoticeStyles = css`
  section {
    display: grid;
    gap: var(--space-4);
    padding: var(--space-6);
    border: 1px solid var(--color-line);
    border-radius: var(--radius);
    background: var(--color-surface);
  }

  h2 {
    font-size: var(--text-large);
  }

  .terms {
    color: var(--color-muted);
    font-size: var(--text-small);
  }

  @media (max-width: 36rem) {
    section {
      padding: var(--space-4);
    }
  }
`;
