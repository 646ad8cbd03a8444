import { css } from 'lit';

export const siteHeaderStyles = css`
  header {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: var(--space-2) var(--space-6);
    min-height: 3.5rem;
  }

  .brand {
    display: inline-flex;
    align-items: center;
    gap: var(--space-2);
    color: var(--color-text);
    font-size: var(--text-large);
    font-weight: 700;
    letter-spacing: -0.01em;
    text-decoration: none;
  }

  svg path {
    fill: none;
    stroke: var(--color-accent);
    stroke-width: 2.5;
    stroke-linecap: round;
    stroke-linejoin: round;
  }

  nav {
    display: flex;
    flex: 1;
    gap: var(--space-1);
  }

  nav a {
    padding: var(--space-2) var(--space-3);
    border-radius: var(--radius-round);
    color: var(--color-muted);
    text-decoration: none;
  }

  nav a:hover {
    background: var(--color-raised);
    color: var(--color-text);
  }

  nav a[aria-current='page'] {
    color: var(--color-text);
    font-weight: 600;
  }

  @media (max-width: 36rem) {
    header {
      gap: var(--space-2);
    }

    .name {
      display: none;
    }
  }
`;
