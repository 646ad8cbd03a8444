import { css } from 'lit';

export const promptComposerStyles = css`
  form {
    display: flex;
    align-items: flex-end;
    gap: var(--space-2);
    padding: var(--space-2);
    border: 1px solid var(--color-line-strong);
    border-radius: 1.75rem;
    background: var(--color-surface);
  }

  form:focus-within {
    outline: var(--focus-ring);
    outline-offset: 1px;
  }

  textarea {
    flex: 1;
    min-width: 0;
    min-height: 2.75rem;
    max-height: 12rem;
    padding: 0.6rem var(--space-3);
    border: 0;
    outline: 0;
    background: transparent;
    line-height: 1.5;
    resize: none;
    field-sizing: content;
  }

  /* The ring is around the form. */
  textarea:focus-visible {
    outline: none;
  }

  textarea::placeholder {
    color: var(--color-muted);
    opacity: 1;
  }

  .hint {
    padding: var(--space-1) var(--space-4) 0;
    color: var(--color-muted);
    font-size: var(--text-small);
  }

  /* A touch screen has no such keys, and a narrow one no room. */
  @media (hover: none), (max-width: 36rem) {
    .keys {
      display: none;
    }
  }
`;
