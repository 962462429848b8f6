import type Database from 'better-sqlite3';
import { type JobField, jobFields } from '../../src/domain/filters/field.js';
import type { JobOrder } from '../../src/domain/filters/job-order.js';
import { jobsByCreation, jobsByUuid } from '../history/as-of-views.js';
import type { JobRow } from '../read-model/jobs.js';
import { readableBy } from '../read-model/readers.js';
import { type AccessPath, accessPath } from './access-path.js';
import { compileFilters, finalFilters } from './job-filters.js';
import type { KeyValue, ListPage, ListQuery } from './list-query.js';
import { requestedJobs } from './requested-by.js';
import { joined, type Sql, sql } from './sql.js';
import { toldIf } from './told-fields.js';
import type { Watched } from './watched.js';

/** A key of an order as a column. The last key of each order is the job's position, which no two share. */
type Key = { readonly column: string; readonly descending: boolean; readonly nullable: boolean };

/**
 * Reads a page of jobs that were not deleted.
 * @throws what `watched` throws when the time is up
 */
export function listJobs(db: Database.Database, query: ListQuery, watched: Watched): ListPage {
  const past = query.asOf !== undefined;
  const { requestedBy, knowing } = query;
  const told = knowing && toldIf(knowing, query.readers);
  const { where, tests } = compileFilters(query.filters, watched.goOn, requestedBy, told);
  const queue = query.from === 'queue';
  const path = accessPath(query);
  const keys = queue ? queueKeys : keysOf(query.order, path.by === 'label' ? 'label' : 'job');
  const from = queue ? 'queued CROSS JOIN job ON job.position = queued.position' : 'job';
  const narrowed = past ? finalFilters(query.filters) : [];
  const conditions = [
    ...narrowed,
    watched.each('job.position'),
    sql('job.deleted = 0'),
    readableBy(query.readers),
    where,
  ];
  const run = (piece: Sql) => watched.statement(db, piece.text, tests);

  const columns = [...jobFields.values()].map((field) => columnOf(field, query.fields));
  if (!query.fields) columns.push(...alsoTold.map((name) => `job.${name}`));
  const found = requestedBy && requestedJobs(requestedBy);
  const narrower = found ? [found] : [];
  const byCreation = past ? `${jobsByCreation} AS job` : `${from} INDEXED BY job_created`;
  const byUuid = past ? `${jobsByUuid} AS job` : `${from} INDEXED BY job_uuid`;
  const limit = query.limit + 1;
  const page = pageOf(
    { from, byCreation, byUuid, columns, keys, after: query.after, limit, narrower },
    conditions,
    path,
  );
  const rows = run(page).iterate(...page.values) as IterableIterator<JobRow & Record<string, KeyValue>>;
  const answer = takePage(rows, query, keys.length);
  if (!query.countTotal) return { ...answer, total: undefined };
  const everything = !queue && !past && query.filters.length === 0 && !query.readers && !requestedBy;
  const matching = joined('AND', [...narrower, ...conditions]);
  const count = everything
    ? countOfAll
    : sql(`SELECT count(*) FROM ${from} WHERE ${matching.text}`, ...matching.values);
  return {
    ...answer,
    total: run(count)
      .pluck()
      .get(...count.values) as number,
  };
}

/** Reads no row, only the smallest index and that of the deleted jobs. */
const countOfAll = sql('SELECT (SELECT count(*) FROM job) - (SELECT count(*) FROM job WHERE deleted = 1)');

/** Columns of what lists tell of a job, and that it is not found by. */
const alsoTold = ['code_paths', 'interest_count', 'waiting_since', 'minima', 'least_ram_mb', 'output_size', 'log_size'];

const answeredJobs = 'answered AS whose CROSS JOIN job ON job.position = whose.job';

type PageOf = {
  readonly from: string;
  /** The same, in the order of creation. */
  readonly byCreation: string;
  /** The same, found by uuids. */
  readonly byUuid: string;
  readonly columns: readonly string[];
  readonly keys: readonly Key[];
  /** Where the page begins. */
  readonly after: readonly KeyValue[] | undefined;
  readonly limit: number;
  /** What follows from the conditions, and by which jobs are found where nothing else says how. */
  readonly narrower: readonly Sql[];
};

function pageOf(
  { from, byCreation, byUuid, columns, keys, after, limit, narrower }: PageOf,
  conditions: readonly Sql[],
  path: AccessPath,
): Sql {
  const select = (what: readonly string[], of: string, where: readonly Sql[], by = keys) => {
    const all = joined('AND', [...where, ...(after ? [behind(by, after)] : [])]);
    const text = `SELECT ${what.join(', ')} FROM ${of} WHERE ${all.text} ORDER BY ${orderOf(by)} LIMIT ?`;
    return sql(text, ...all.values, limit);
  };
  const named = (those: readonly Key[]) => those.map(({ column }, i) => `${column} AS key${i}`);
  const wanted = [...columns, ...named(keys)];
  if (path.by === 'planner') return select(wanted, from, [...narrower, ...conditions]);
  if (path.by === 'creation') return select(wanted, byCreation, conditions);
  if (path.by === 'label') {
    const { name, value } = path;
    const those = sql('label.name = ? AND label.value = ?', name, value);
    return select(wanted, 'label CROSS JOIN job ON job.position = label.position', [those, ...conditions]);
  }
  if (path.by === 'uuid') return select(wanted, byUuid, conditions);
  // Positions first, so that no more whole rows are read than the page has.
  const parts = path.branches.map((branch) => {
    if ('condition' in branch) return select(named(keys), from, [branch.condition, ...conditions]);
    const [created, position] = keys as readonly [Key, Key];
    const own = [
      { ...created, column: 'whose.created_at' },
      { ...position, column: 'whose.job' },
    ];
    const those = sql('whose.principal = ? AND whose.first = 1', branch.answered);
    return select(named(own), answeredJobs, [those, ...conditions], own);
  });
  const union = parts.map(({ text }) => `SELECT * FROM (${text})`).join(' UNION ');
  const order = orderOf(keys.map((key, i) => ({ ...key, column: `key${i}` })));
  const positions = `SELECT key${keys.length - 1} AS found FROM (${union}) ORDER BY ${order} LIMIT ?`;
  return sql(
    `SELECT ${wanted.join(', ')} FROM (${positions}) CROSS JOIN job ON job.position = found ORDER BY ${orderOf(keys)}`,
    ...parts.flatMap(({ values }) => values),
    limit,
  );
}

function orderOf(keys: readonly Key[]): string {
  return keys.map(({ column, descending }) => `${column}${descending ? ' DESC' : ''}`).join(', ');
}

function takePage(
  found: Iterable<JobRow & Record<string, KeyValue>>,
  { limit, bytes }: ListQuery,
  keys: number,
): Pick<ListPage, 'rows' | 'next'> {
  const rows: JobRow[] = [];
  let size = 0;
  let last: Record<string, KeyValue> | undefined;
  for (const row of found) {
    size += sizeOnWire(row);
    if (rows.length === limit || (rows.length > 0 && size > bytes)) {
      return { rows, next: Array.from({ length: keys }, (_, i) => last?.[`key${i}`] ?? null) };
    }
    rows.push(row);
    last = row;
  }
  return { rows, next: undefined };
}

const queueKeys: readonly Key[] = [
  { column: 'queued.urgency', descending: false, nullable: false },
  { column: 'queued.turn', descending: false, nullable: false },
  { column: 'queued.position', descending: false, nullable: false },
];

const nullable = new Set(['started_at', 'finished_at', 'cancelled_at', 'lease_expires_at', 'progress']);

/** Keys of an order by columns of `job`, or of a table that has those of the order of creation. */
function keysOf(order: JobOrder, table: 'job' | 'label'): readonly Key[] {
  const keys = order.map(({ field, descending }) => ({
    column: `${table}.${field}`,
    descending,
    nullable: nullable.has(field),
  }));
  const descending = order[order.length - 1]?.descending ?? false;
  return [...keys, { column: `${table}.position`, descending, nullable: false }];
}

/** That a job stands behind the one with these values of the keys. */
function behind(keys: readonly Key[], after: readonly KeyValue[]): Sql {
  const [first] = keys;
  const uniform = keys.every(({ descending, nullable }) => !nullable && descending === first?.descending);
  const known = after.filter((value) => value !== null);
  if (uniform && first) {
    const columns = keys.map(({ column }) => column).join(', ');
    return sql(`(${columns}) ${first.descending ? '<' : '>'} (${keys.map(() => '?').join(', ')})`, ...known);
  }
  const cases = keys.map((key, i) =>
    joined('AND', [
      ...keys.slice(0, i).map((before, j) => same(before, after[j] ?? null)),
      beyond(key, after[i] ?? null),
    ]),
  );
  const [value] = after;
  if (!first || first.nullable || value === null || value === undefined) return joined('OR', cases);
  // It follows from the rest, but lets SQLite begin in the middle of an index.
  const begin = sql(`${first.column} ${first.descending ? '<=' : '>='} ?`, value);
  return joined('AND', [begin, joined('OR', cases)]);
}

function same({ column }: Key, value: KeyValue): Sql {
  return value === null ? sql(`${column} IS NULL`) : sql(`${column} = ?`, value);
}

function beyond({ column, descending, nullable }: Key, value: KeyValue): Sql {
  if (value === null) return sql(descending ? '0' : `${column} IS NOT NULL`);
  if (!descending) return sql(`${column} > ?`, value);
  return nullable ? sql(`${column} < ? OR ${column} IS NULL`, value) : sql(`${column} < ?`, value);
}

/** A field's column, or for one that is not wanted a value that costs nothing. */
function columnOf({ name, kind }: JobField, fields: readonly string[] | undefined): string {
  if (!fields || name === 'uuid' || fields.includes(name)) return `job.${name}`;
  if (kind === 'text') return `'' AS ${name}`;
  if (kind === 'tree') return `'{}' AS ${name}`;
  return nullable.has(name) || kind === 'message' ? `NULL AS ${name}` : `0 AS ${name}`;
}

/** At least the bytes that a row's job takes in a message, without the price of encoding it. */
function sizeOnWire(row: JobRow): number {
  // A character is at most 3 bytes, a member of an array such as `[1,1]` 11 bytes for 2 characters, and what a field costs
  // beside its text is in the thousand.
  let characters = 0;
  for (const value of Object.values(row)) if (typeof value === 'string') characters += value.length;
  return 1_000 + 3 * characters + 5 * (row.script_parameters.length + (row.unhashed_parameters?.length ?? 0));
}
