import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import { type AsOf, AsOfSchema } from '../../gen/memoir/jobs/v1/as_of_pb.js';

/** What `withAsOf` adds. */
export type AsOfOptions = { readonly asOf?: AsOf };

/** RFC 3339, or a day alone. */
const timeText = /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d))?$/;

/** Adds `--as-of`. */
export function withAsOf(command: Command): Command {
  return command.option(
    '--as-of <position or time>',
    'answer as the server would have then: after the event at a position, or before a time such as 2026-01-31T12:00:00Z',
    parseAsOf,
  );
}

/** @throws InvalidArgumentError if the text is neither a position nor a time */
export function parseAsOf(text: string): AsOf {
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) {
    return create(AsOfSchema, { moment: { case: 'position', value: BigInt(text) } });
  }
  const time = timeText.test(text) ? new Date(text.replace(' ', 'T').toUpperCase()) : new Date(Number.NaN);
  if (Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError('Give a position of the log, or a time such as 2026-01-31T12:00:00Z.');
  }
  return create(AsOfSchema, { moment: { case: 'time', value: timestampFromDate(time) } });
}
