const MAX_SHOWN_CHARACTERS = 40;

/** A value of a caller in a few words: nothing that fills an answer, or a log, with what somebody sent. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length <= MAX_SHOWN_CHARACTERS
        ? JSON.stringify(value)
        : `a string of ${value.length} characters`;
    case 'number':
    case 'boolean':
      return String(value);
    case 'undefined':
      return 'absent';
    default:
      if (value === null) return 'null';
      return Array.isArray(value) ? `an array of ${value.length}` : 'an object';
  }
}
