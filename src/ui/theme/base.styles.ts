import { css } from 'lit';

/** What every component shares: box model, focus, buttons, fields, and text for screen readers only. */
export const baseStyles = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }

  :host {
    display: block;
  }

  :host([hidden]) {
    display: none;
  }

  h1,
  h2,
  h3,
  p {
    margin: 0;
    text-wrap: pretty;
  }

  h1,
  h2,
  h3 {
    line-height: 1.25;
    font-weight: 650;
  }

  a {
    color: var(--color-accent);
    text-underline-offset: 0.15em;
  }

  :focus-visible {
    outline: var(--focus-ring);
    outline-offset: 2px;
  }

  button,
  input,
  select,
  textarea {
    font: inherit;
    color: inherit;
  }

  button {
    min-height: 2.75rem;
    padding: 0 var(--space-4);
    border: 1px solid var(--color-line-strong);
    border-radius: var(--radius-round);
    background: var(--color-surface);
    font-weight: 550;
    cursor: pointer;
    transition: background-color var(--fast);
  }

  button:hover:not(:disabled) {
    background: var(--color-raised);
  }

  button:disabled {
    opacity: 0.55;
    cursor: not-allowed;
  }

  button.primary {
    border-color: transparent;
    background: var(--color-accent);
    color: var(--color-on-accent);
  }

  button.primary:hover:not(:disabled) {
    background: var(--color-accent-hover);
  }

  button.quiet {
    border-color: transparent;
    background: transparent;
    color: var(--color-muted);
  }

  button.quiet:hover:not(:disabled) {
    background: var(--color-raised);
    color: var(--color-text);
  }

  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`;
