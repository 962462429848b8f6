import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import { colourful } from '../text/output.js';

/** A logger to standard error: for people on a terminal, otherwise a JSON object a line. */
export function openLogger(level: string): Logger {
  if (!process.stderr.isTTY) return pino({ level }, pino.destination({ dest: 2, sync: true }));
  return pino(
    { level },
    pretty({ destination: 2, sync: true, colorize: colourful(process.stderr), ignore: 'pid,hostname' }),
  );
}
