export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One line per event, for the operator. */
export type Log = Readonly<Record<Exclude<LogLevel, 'silent'>, (line: string) => void>>;

/** @param write takes one line without its line break. */
export function createLog(level: LogLevel, write: (line: string) => void): Log {
  const at = (lineLevel: LogLevel) => (line: string) => {
    if (LOG_LEVELS.indexOf(lineLevel) <= LOG_LEVELS.indexOf(level)) write(oneLine(line));
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
}

/** Words of peers end up in the log: control characters could forge lines or drive a terminal. */
function oneLine(line: string): string {
  return line.replace(/\p{Cc}+/gu, ' ');
}
