import type Database from 'better-sqlite3';

/** A value of a row. */
export type Cell = string | number | Buffer | null;

/** A row that is not in both tables as it should be. */
export type RowDifference = {
  readonly table: string;
  /** "differs"; "missing" if it is only in the one that is right; "added" if only in the other. */
  readonly kind: 'differs' | 'missing' | 'added';
  /** What names the row: its primary key, or all of it where there is none. */
  readonly key: Readonly<Record<string, Cell>>;
  /** For one that differs, each column with another value: that of the file, and the right one. */
  readonly columns: Readonly<Record<string, { readonly found: Cell; readonly right: Cell }>>;
};

/** What a comparison of one table found. */
export type TableComparison = { readonly rows: number; readonly differences: number };

/**
 * Compares a table in two databases row by row, and tells of each difference. Both are read in the order of the primary key, as in a
 * merge, so that the memory that it needs does not grow with the table. Gives way to others now and then.
 */
export function* compareTable(
  found: Database.Database,
  right: Database.Database,
  table: string,
): Generator<RowDifference | undefined, TableComparison> {
  const { columns, keys } = shapeOf(right, table);
  const [mine, theirs] = [rowsOf(found, table, columns, keys), rowsOf(right, table, columns, keys)];
  let rows = 0;
  let differences = 0;
  let [one, other] = [mine.next(), theirs.next()];
  const keyOf = (row: readonly Cell[]) => Object.fromEntries(keys.map((i) => [columns[i] as string, row[i] ?? null]));
  while (!one.done || !other.done) {
    const order = one.done ? 1 : other.done ? -1 : compareKeys(one.value, other.value, keys);
    rows++;
    if (order < 0 && !one.done) {
      differences++;
      yield { table, kind: 'added', key: keyOf(one.value), columns: {} };
      one = mine.next();
    } else if (order > 0 && !other.done) {
      differences++;
      yield { table, kind: 'missing', key: keyOf(other.value), columns: {} };
      other = theirs.next();
    } else if (!one.done && !other.done) {
      const changed = changedColumns(columns, one.value, other.value);
      if (changed) {
        differences++;
        yield { table, kind: 'differs', key: keyOf(one.value), columns: changed };
      } else if (rows % 1_000 === 0) yield undefined;
      [one, other] = [mine.next(), theirs.next()];
    }
  }
  return { rows, differences };
}

/** The columns of a table, and the places of those that rows are told apart by. */
function shapeOf(db: Database.Database, table: string) {
  const info = db.pragma(`table_info("${table}")`) as { readonly name: string; readonly pk: number }[];
  const primary = info.flatMap(({ pk }, i) => (pk > 0 ? [{ pk, i }] : [])).sort((a, b) => a.pk - b.pk);
  return {
    columns: info.map(({ name }) => name),
    keys: primary.length > 0 ? primary.map(({ i }) => i) : info.map((_, i) => i),
  };
}

function rowsOf(
  db: Database.Database,
  table: string,
  columns: readonly string[],
  keys: readonly number[],
): IterableIterator<Cell[]> {
  const quoted = columns.map((name) => `"${name}"`);
  const order = keys.map((i) => quoted[i]).join(', ');
  const statement = db.prepare(`SELECT ${quoted.join(', ')} FROM "${table}" ORDER BY ${order}`);
  return statement.raw().iterate() as IterableIterator<Cell[]>;
}

function compareKeys(one: readonly Cell[], other: readonly Cell[], keys: readonly number[]): number {
  for (const i of keys) {
    const order = compareCells(one[i] ?? null, other[i] ?? null);
    if (order !== 0) return order;
  }
  return 0;
}

/** As SQLite orders values: NULL, numbers, texts by their bytes, blobs. */
function compareCells(one: Cell, other: Cell): number {
  const rank = (value: Cell) =>
    value === null ? 0 : typeof value === 'number' ? 1 : typeof value === 'string' ? 2 : 3;
  if (rank(one) !== rank(other)) return rank(one) - rank(other);
  if (one === null || other === null || one === other) return 0;
  if (typeof one === 'number') return one - (other as number);
  return Buffer.compare(Buffer.from(one as string), Buffer.from(other as string));
}

function changedColumns(columns: readonly string[], found: readonly Cell[], right: readonly Cell[]) {
  const changed: Record<string, { found: Cell; right: Cell }> = {};
  let any = false;
  for (const [i, name] of columns.entries()) {
    const [a, b] = [found[i] ?? null, right[i] ?? null];
    if (a === b || compareCells(a, b) === 0) continue;
    changed[name] = { found: a, right: b };
    any = true;
  }
  return any ? changed : undefined;
}
