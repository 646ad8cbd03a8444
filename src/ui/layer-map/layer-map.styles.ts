import { css } from 'lit';

export const layerMapStyles = css`
  .bar {
    display: flex;
    gap: 3px;
    height: 2rem;
  }

  .bar span {
    flex: 1;
    min-width: 2px;
  }

  span {
    border-radius: 4px;
  }

  .here {
    background: var(--color-accent);
  }

  .others {
    border: 1px solid var(--color-accent);
    background: var(--color-accent-soft);
  }

  .nobody {
    border: 1px dashed var(--color-line-strong);
  }

  ul {
    display: flex;
    flex-wrap: wrap;
    gap: var(--space-1) var(--space-4);
    margin: var(--space-2) 0 0;
    padding: 0;
    color: var(--color-muted);
    font-size: var(--text-small);
    list-style: none;
  }

  li {
    display: inline-flex;
    align-items: center;
    gap: var(--space-2);
  }

  li span {
    width: 0.9rem;
    height: 0.9rem;
  }
`;
