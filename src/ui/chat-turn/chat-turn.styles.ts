import { css } from 'lit';

export const chatTurnStyles = css`
  article {
    display: grid;
    gap: var(--space-3);
    justify-items: start;
  }

  .prompt,
  .answer {
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }

  .prompt {
    justify-self: end;
    max-width: min(100%, 34rem);
    padding: var(--space-2) var(--space-4);
    border-radius: var(--radius) var(--radius) var(--radius-small) var(--radius);
    background: var(--color-accent-soft);
  }

  .answer {
    max-width: 100%;
    font-size: 1.0625rem;
  }

  .note {
    color: var(--color-muted);
  }

  .progress {
    display: flex;
    align-items: center;
    gap: var(--space-2);
  }

  .pulse {
    width: 0.6rem;
    height: 0.6rem;
    border-radius: 50%;
    background: var(--color-accent);
    animation: pulse 1.4s ease-in-out infinite;
  }

  @keyframes pulse {
    50% {
      opacity: 0.25;
    }
  }

  @media (prefers-reduced-motion: reduce) {
    .pulse {
      animation: none;
    }
  }

  skein-error-notice,
  skein-route-strip {
    width: 100%;
  }
`;
