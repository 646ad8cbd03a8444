import { css } from 'lit';

export const samplingSettingsStyles = css`
  summary {
    width: fit-content;
    padding: var(--space-1) var(--space-3);
    border-radius: var(--radius-round);
    color: var(--color-muted);
    font-size: var(--text-small);
    cursor: pointer;
  }

  summary:hover {
    background: var(--color-raised);
    color: var(--color-text);
  }

  .fields {
    display: grid;
    grid-template-columns: max-content 6rem 1fr;
    align-items: center;
    gap: var(--space-2) var(--space-4);
    margin-top: var(--space-2);
    padding: var(--space-4);
    border: 1px solid var(--color-line);
    border-radius: var(--radius);
    background: var(--color-surface);
  }

  input {
    width: 100%;
    min-height: 2.5rem;
    padding: 0 var(--space-3);
    border: 1px solid var(--color-line-strong);
    border-radius: var(--radius-small);
    background: var(--color-page);
  }

  p {
    color: var(--color-muted);
    font-size: var(--text-small);
  }

  @media (max-width: 36rem) {
    .fields {
      grid-template-columns: 1fr 6rem;
    }

    p {
      grid-column: 1 / -1;
    }
  }
`;
