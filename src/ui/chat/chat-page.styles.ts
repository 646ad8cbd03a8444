import { css } from 'lit';

export const chatPageStyles = css`
  .page {
    display: grid;
    grid-template-rows: auto auto minmax(0, 1fr);
    height: 100dvh;
    max-width: calc(var(--measure) + 2 * var(--space-6));
    margin: 0 auto;
    padding: 0 var(--space-6);
  }

  skein-status-line {
    border-bottom: 1px solid var(--color-line);
  }

  select {
    max-width: 14rem;
    min-height: 2rem;
    padding: 0 var(--space-2);
    border: 1px solid var(--color-line-strong);
    border-radius: var(--radius-small);
    background: var(--color-surface);
  }

  main {
    display: grid;
    grid-template-rows: minmax(0, 1fr) auto;
    min-height: 0;
  }

  .log {
    overflow-y: auto;
    overscroll-behavior: contain;
  }

  .content {
    display: grid;
    gap: var(--space-8);
    padding: var(--space-6) 0;
  }

  .welcome {
    display: grid;
    gap: var(--space-4);
    padding-top: clamp(0rem, 6vw, 4rem);
  }

  h1 {
    font-size: var(--text-title);
    letter-spacing: -0.015em;
  }

  .welcome p {
    max-width: 36rem;
    color: var(--color-muted);
  }

  .examples {
    display: flex;
    flex-wrap: wrap;
    gap: var(--space-2);
  }

  .card {
    padding: var(--space-4);
    border: 1px solid var(--color-line);
    border-radius: var(--radius);
    background: var(--color-surface);
  }

  footer {
    padding-bottom: var(--space-3);
  }

  .honest {
    padding: var(--space-1) var(--space-3) 0;
    color: var(--color-muted);
    font-size: var(--text-small);
  }

  @media (max-width: 36rem) {
    .page {
      padding: 0 var(--space-4);
    }
  }
`;
