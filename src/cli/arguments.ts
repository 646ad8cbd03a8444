import { InvalidArgumentError } from 'commander';

/** For commander: a number in `[min, max]`. */
export function numberBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= min && value <= max)) {
      throw new InvalidArgumentError(`Give a number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** For commander: seconds, from a thousandth to `maxMs`. @returns whole milliseconds. */
export function seconds(maxMs: number): (text: string) => number {
  const inRange = numberBetween(0.001, maxMs / 1000);
  return (text) => Math.round(inRange(text) * 1000);
}

/** For commander: a whole number in `[min, max]`. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  const inRange = numberBetween(min, max);
  return (text) => {
    const value = inRange(text);
    if (!Number.isInteger(value)) throw new InvalidArgumentError('Give a whole number.');
    return value;
  };
}
