import { css } from 'lit';

export const routeStripStyles = css`
  .strip {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--space-2) var(--space-4);
    color: var(--color-muted);
    font-size: var(--text-small);
  }

  ol {
    display: flex;
    flex-wrap: wrap;
    gap: var(--space-2);
    margin: 0;
    padding: 0;
    list-style: none;
  }

  ul {
    display: grid;
    gap: var(--space-1);
    margin: var(--space-2) 0 0;
    padding: 0;
    color: var(--color-muted);
    font-size: var(--text-small);
    list-style: none;
  }

  ol li {
    display: inline-flex;
    align-items: baseline;
    gap: var(--space-2);
    padding: 0 var(--space-3);
    border: 1px solid var(--color-line);
    border-radius: var(--radius-round);
    background: var(--color-surface);
  }

  ol li:not(:first-child)::before {
    content: '→';
    color: var(--color-line-strong);
  }

  .peer {
    color: var(--color-text);
    font-family: var(--font-mono);
  }

  .self {
    color: var(--color-accent);
    font-weight: 600;
  }
`;
