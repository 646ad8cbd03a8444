import { css } from 'lit';

export const errorNoticeStyles = css`
  [role='alert'] {
    padding: var(--space-3) var(--space-4);
    border-left: 3px solid var(--color-danger);
    border-radius: var(--radius-small);
    background: var(--color-danger-soft);
  }

  .title {
    color: var(--color-danger);
    font-weight: 650;
  }

  details {
    margin-top: var(--space-2);
    font-size: var(--text-small);
  }

  summary {
    width: fit-content;
    cursor: pointer;
  }

  .message {
    overflow-wrap: anywhere;
  }

  .code {
    color: var(--color-muted);
    font-family: var(--font-mono);
  }

  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: var(--space-2);
  }

  .actions ::slotted(*) {
    margin-top: var(--space-3);
  }
`;
