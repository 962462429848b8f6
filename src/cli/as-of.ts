import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import { type AsOf, AsOfSchema } from '../../gen/memoir/jobs/v1/as_of_pb.js';
import { parseTime, timeForms } from './time-option.js';

/** What `withAsOf` adds. */
export type AsOfOptions = { readonly asOf?: AsOf };

/** Adds `--as-of`. */
export function withAsOf(command: Command): Command {
  return command.option(
    '--as-of <position or time>',
    `answer as the server would have then: after the event at a position, or before a time: ${timeForms}`,
    asOf(Date.now),
  );
}

/** A parser of positions of the log, and of times as `time` reads them. */
export function asOf(now: () => number): (text: string) => AsOf {
  return (text) => {
    if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) {
      return create(AsOfSchema, { moment: { case: 'position', value: BigInt(text) } });
    }
    const ms = parseTime(text, now);
    if (ms === undefined) throw new InvalidArgumentError(`Give a position of the log, or a time such as ${timeForms}.`);
    return create(AsOfSchema, { moment: { case: 'time', value: timestampFromMs(ms) } });
  };
}
