import { css } from 'lit';

export const statusLineStyles = css`
  .line {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--space-1) var(--space-2);
    min-height: 2rem;
    color: var(--color-muted);
    font-size: var(--text-small);
    --tone: var(--color-warning);
  }

  .news {
    display: flex;
    align-items: baseline;
    gap: var(--space-2);
  }

  .ok {
    --tone: var(--color-ok);
  }

  .danger {
    --tone: var(--color-danger);
  }

  .dot {
    flex: none;
    width: 0.6rem;
    height: 0.6rem;
    border-radius: 50%;
    background: var(--tone);
  }

  ::slotted(*) {
    margin-left: auto;
    color: var(--color-text);
  }

  button {
    min-height: 2rem;
    padding: 0 var(--space-3);
    color: var(--color-accent);
  }
`;
