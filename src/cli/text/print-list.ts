import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { outputWidth } from './fitted-table.js';
import { note, printLine, printMessage } from './output.js';

/** Options of a command that prints a list. */
export type ListOptions = {
  readonly json?: boolean;
  /** Most rows to print. */
  readonly limit: number;
  /** All of them instead. */
  readonly all?: boolean;
  /** However wide the terminal is. */
  readonly wide?: boolean;
};

/** Which page to ask for; the token is empty for the first. */
export type PageAsked = { readonly pageSize: number; readonly pageToken: string };

/** What is listed. */
export type Listing<Row extends DescMessage> = {
  /** What a row is as JSON. */
  readonly schema: Row;
  /** Whether a row is whole in JSON, with the fields that have no value; true unless given. */
  readonly whole?: boolean;
  page(asked: PageAsked): Promise<{ readonly rows: readonly MessageShape<Row>[]; readonly nextPageToken: string }>;
  table(rows: readonly MessageShape<Row>[], width: number): string;
  /** What to say where there is none, such as "no images". */
  readonly none: string;
};

/** Prints as many pages as it takes: as JSON at once, as a table when all are there, since its columns need all. */
export async function printList<Row extends DescMessage>(
  { json, limit, all, wide }: ListOptions,
  { schema, whole, page, table, none }: Listing<Row>,
): Promise<void> {
  const most = all ? Number.POSITIVE_INFINITY : limit;
  const kept: MessageShape<Row>[] = [];
  let count = 0;
  let pageToken = '';
  do {
    const { rows, nextPageToken } = await page({ pageSize: Math.min(most - count, 1_000), pageToken });
    for (const row of rows) {
      if (json) await printMessage(schema, row, whole);
      else kept.push(row);
    }
    count += rows.length;
    pageToken = nextPageToken;
  } while (pageToken !== '' && count < most);
  if (kept.length > 0) await printLine(table(kept, wide ? Number.POSITIVE_INFINITY : outputWidth()));
  else if (!json) note(none);
  if (pageToken !== '') note(`there are more than these ${count}; see --limit and --all`);
}
