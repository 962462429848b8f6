import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { textFields } from '../../src/domain/filters/field.js';
import type { JobFilter, Scalar, Target, Test } from '../../src/domain/filters/filter.js';
import { likeLiteral, likePrefix } from '../../src/domain/filters/like.js';
import { valueAt, valueTest } from '../../src/domain/filters/matches.js';
import { type RequestedBy, requestedByThem } from './requested-by.js';
import { isOneOf, joined, type Sql, sql } from './sql.js';
import type { ToldIf } from './told-fields.js';

/** A test of a column's text. */
export type TextTest = (text: string) => boolean;

/**
 * The function that SQL calls where it cannot tell by itself: `memoir_test(n, text)` is the n-th of the tests. It is told the
 * same way in memory and here, since it is the same code.
 */
export const testFunction = 'memoir_test';

/** The function by which SQL asks whether to go on; it gives 1, or throws. */
export const goOnFunction = 'memoir_go_on';

/** Filters as SQL over the table `job`. */
export type CompiledFilters = {
  /** A condition that is 1 where all filters match, and otherwise 0 or NULL. */
  readonly where: Sql;
  readonly tests: readonly TextTest[];
};

/** Translates filters. Everything that came from a client is a parameter. The tests call `goOn` in the midst of what takes long.
 * Where the list is about somebody's requests, filters on labels look at those of the answered ones too. */
export function compileFilters(
  filters: readonly JobFilter[],
  goOn?: () => void,
  requestedBy?: RequestedBy,
  told: ToldIf = () => undefined,
): CompiledFilters {
  const tests: TextTest[] = [];
  const call: Call = (made, column) => `${testFunction}(${tests.push(made(goOn)) - 1}, ${column})`;
  const all = (those: readonly JobFilter[], labels?: string) =>
    joined(
      'AND',
      those.map((filter) => asTold(filter, compile(filter, call, told, labels), told)),
    );
  if (!requestedBy) return { where: all(filters), tests };
  const onLabels = filters.filter(isOnLabels);
  const others = filters.filter((filter) => !isOnLabels(filter));
  const labelled = onLabels.length === 0 ? undefined : (column: string) => all(onLabels, column);
  return { where: joined('AND', [all(others), requestedByThem(requestedBy, labelled)]), tests };
}

/** A condition on a field that the reader may not know of every job is one on jobs without it where it may not. */
function asTold({ target, test }: JobFilter, condition: Sql, toldIf: ToldIf): Sql {
  const told = target.of === 'field' ? toldIf(target.field) : undefined;
  if (!told) return condition;
  const otherwise = sql(`NOT (${told.text})`, ...told.values);
  return joined('OR', [
    joined('AND', [told, condition]),
    joined('AND', [otherwise, sql(valueTest(test)(undefined) ? '1' : '0')]),
  ]);
}

function isOnLabels({ target }: JobFilter): boolean {
  return (target.of === 'path' || target.of === 'whole') && target.field === 'labels';
}

/**
 * Conditions on what jobs have or will have, as the views of the past know it, that follow from filters on what they have: an index
 * finds by them.
 */
export function finalFilters(filters: readonly JobFilter[]): Sql[] {
  return filters.flatMap(({ target, test }) => {
    if (target.of !== 'field' || target.field !== 'output' || test.is !== 'one of' || test.negate) return [];
    const values = test.values.map((value) => String(value ?? ''));
    return values.includes('') ? [] : [oneOfTexts('job.final_output', values)];
  });
}

type Call = (test: (goOn?: () => void) => TextTest, column: string) => string;

/** `labels` is the column that has them, if that is not the job's. */
function compile({ target, test }: JobFilter, call: Call, told: ToldIf, labels?: string): Sql {
  switch (target.of) {
    case 'field': {
      const column = `job.${target.field}`;
      if (target.kind === 'text') return textCondition(column, test, call);
      return target.kind === 'state' ? stateCondition(test) : numberCondition(column, test);
    }
    case 'member': {
      const part = `job.${target.field} ->> '$.${target.member}'`;
      if (target.kind === 'text') return textCondition(`coalesce(${part}, '')`, test, call);
      if (target.duration) return numberCondition(`round(CAST(rtrim(${part}, 's') AS REAL), 3)`, test);
      // Numbers of 64 bits are texts in ProtoJSON.
      const number = `CAST(${part} AS NUMERIC)`;
      const zero = `CASE WHEN job.${target.field} IS NOT NULL THEN coalesce(${number}, 0) END`;
      return numberCondition(target.zero ? zero : number, test);
    }
    case 'path':
      return pathCondition(target, test, call, labels);
    case 'whole':
      return wholeCondition(target.field, test);
    case 'any':
      return anyCondition(test, call, told);
  }
}

/** Of a column in which an absent value is an empty text. */
function textCondition(column: string, test: Test, call: Call): Sql {
  switch (test.is) {
    case 'present':
      return sql(`${column} ${test.present ? '<>' : '='} ''`);
    case 'one of': {
      const among = oneOfTexts(
        column,
        test.values.map((value) => String(value ?? '')),
      );
      return test.negate ? sql(`NOT (${among.text})`, ...among.values) : among;
    }
    case 'like':
      return likeCondition(column, test, call);
    case 'holding':
      return joined('AND', [
        sql(`${column} <> ''`),
        asking(column),
        sql(`instr(${column}, ?) > 0`, test.value as string),
      ]);
    case '<':
    case '<=':
      return sql(`${column} ${test.is} ? AND ${column} <> ''`, test.value);
    default:
      return sql(`${column} ${test.is} ? AND ${column} > ''`, test.value);
  }
}

/** The column of which beginnings are looked for that few jobs share. */
const abbreviated = 'job.script_version';

/** How much of a uuid its index holds. */
const uuidDigits = 13;

/** The columns whose index holds only the beginning of the text, as the expression that it holds. */
const shortened: ReadonlyMap<string, (of: string) => string> = new Map([
  ['job.uuid', (of: string) => `substr(${of}, 1, ${uuidDigits})`],
  ['job.output', (of: string) => `substr(${of}, 1, 19)`],
  ['job.final_output', (of: string) => `substr(${of}, 1, 19)`],
]);

function oneOfTexts(column: string, values: readonly string[]): Sql {
  const among = isOneOf(column, values);
  // It follows from the values, but SQLite does not see that where an index is of the rows that have one.
  const exact = values.includes('') ? among : joined('AND', [among, sql(`${column} <> ''`)]);
  const beginning = shortened.get(column);
  const [one] = values;
  if (!beginning || one === undefined) return exact;
  const first =
    values.length === 1
      ? sql(`${beginning(column)} = ${beginning('?')}`, one)
      : sql(`${beginning(column)} IN (SELECT ${beginning('value')} FROM json_each(?))`, JSON.stringify(values));
  return joined('AND', [first, exact]);
}

/** Bytes of a text that are searched without asking whether to go on: some microseconds of work. */
const searchedUnasked = 2_048;

/** A condition that is true, and asks whether to go on before a long text is searched: a row may have many, and a filter look at all. */
function asking(column: string): Sql {
  // A part of a small message is short, and would be taken out of it twice.
  if (!column.startsWith('job.') || column.includes('->>')) return sql('1');
  return sql(`(octet_length(${column}) <= ${searchedUnasked} OR ${goOnFunction}())`);
}

/**
 * Narrows down by what SQLite can find by itself, the beginning or a part of the text, and leaves the pattern to the matcher of
 * the domain.
 */
function likeCondition(column: string, test: Extract<Test, { is: 'like' }>, call: Call): Sql {
  const { pattern } = test;
  const conditions = [sql(`${column} <> ''`), asking(column)];
  const prefix = pattern.fold ? '' : likePrefix(pattern);
  if (prefix !== '') {
    // The sign keeps SQLite from the part of an index on scripts that begin so, which is not in the order of the list.
    const bounded = column === abbreviated ? column : `+${column}`;
    conditions.push(sql(`${bounded} >= ?`, prefix));
    const end = successor(prefix);
    if (end !== undefined) conditions.push(sql(`${bounded} < ?`, end));
    if (column === uuidColumn) conditions.push(...shortenedRange(prefix));
  }
  const literal = likeLiteral(pattern);
  if (literal !== '' && literal !== prefix) {
    conditions.push(sql(`instr(${pattern.fold ? `lower(${column})` : column}, ?) > 0`, literal));
  }
  conditions.push(sql(call((goOn) => valueTest(test, goOn), column)));
  return joined('AND', conditions);
}

const uuidColumn = 'job.uuid';

/** What follows from the beginning of a uuid for what the index of uuids holds. */
function shortenedRange(prefix: string): Sql[] {
  const held = `substr(${uuidColumn}, 1, ${uuidDigits})`;
  const beginning = prefix.slice(0, uuidDigits);
  const end = successor(beginning);
  return [sql(`${held} >= ?`, beginning), ...(end === undefined ? [] : [sql(`${held} < ?`, end)])];
}

/** The first text after all that begin with `prefix`; undefined if there is none. */
function successor(prefix: string): string | undefined {
  const points = [...prefix];
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const point = last.codePointAt(0) as number;
    if (point === 0x10ffff) continue;
    return points.join('') + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1);
  }
  return undefined;
}

/** Of a column of numbers or times in which an absent value is NULL. */
function numberCondition(column: string, test: Test): Sql {
  switch (test.is) {
    case 'present':
      return sql(`${column} IS ${test.present ? 'NOT NULL' : 'NULL'}`);
    case 'one of': {
      const absent = test.values.includes(null);
      const among = isOneOf(column, test.values.flatMap(numeric));
      if (test.negate) {
        const others = sql(`NOT (${among.text})`, ...among.values);
        if (absent) return joined('AND', [sql(`${column} IS NOT NULL`), others]);
        return joined('OR', [sql(`${column} IS NULL`), others]);
      }
      return absent ? joined('OR', [sql(`${column} IS NULL`), among]) : among;
    }
    case 'like':
    case 'holding':
      return sql('0');
    default:
      return sql(`${column} ${test.is} ?`, test.value);
  }
}

function numeric(value: Scalar): number[] {
  return value === null ? [] : [Number(value)];
}

/**
 * The states are written out, and those that few jobs have are told apart by more than they need, so that SQLite sees that the
 * index of these is enough.
 */
function stateCondition(test: Test): Sql {
  if (test.is !== 'one of') return sql(test.is === 'present' && test.present ? '1' : '0');
  const states = test.values.flatMap(numeric);
  if (states.length === 0) return sql(test.negate ? '1' : '0');
  const list = `job.state ${test.negate ? 'NOT ' : ''}IN (${states.join(', ')})`;
  if (test.negate) return sql(list);
  const one = states.length === 1 ? `job.state = ${states[0]}` : list;
  return sql(states.includes(JobState.COMPLETE) ? one : `${one} AND job.state <> ${JobState.COMPLETE}`);
}

/** Of what stands somewhere in the JSON of a column. A search in its text comes first: few rows are then read as JSON. */
function pathCondition(
  target: Extract<Target, { of: 'path' }>,
  test: Test,
  call: Call,
  column = `job.${target.field}`,
): Sql {
  const conditions = needles(target.path, test).map((needle) => sql(`instr(${column}, ?) > 0`, needle));
  conditions.unshift(asking(column));
  const whole = (goOn?: () => void): TextTest => {
    const passes = valueTest(test, goOn);
    return (text) => passes(valueAt(JSON.parse(text), target.path));
  };
  conditions.push(sql(call(whole, column)));
  return joined('AND', conditions);
}

/** Texts that the JSON of every match holds, as JSON.stringify writes it. */
function needles(path: readonly string[], test: Test): string[] {
  const absentMatches =
    test.is === 'one of' ? test.negate || test.values.includes(null) : test.is === 'present' && !test.present;
  if (absentMatches) return [];
  // A number may be a place in a list.
  const names = path.filter((name) => !/^\d+$/.test(name)).map((name) => `${JSON.stringify(name)}:`);
  const [value] = test.is === 'one of' ? test.values : test.is === 'holding' ? [test.value] : [];
  if (value === undefined || (test.is === 'one of' && test.values.length > 1)) return names;
  const written = JSON.stringify(value);
  return [...names, test.is === 'holding' && typeof value === 'string' ? written.slice(1, -1) : written].filter(
    Boolean,
  );
}

/** Of a field that has parts, which is NULL if it is absent. */
function wholeCondition(field: string, test: Test): Sql {
  const present =
    test.is === 'present' ? test.present : test.is === 'one of' && test.negate === test.values.includes(null);
  return sql(`job.${field} IS ${present ? 'NOT NULL' : 'NULL'}`);
}

function anyCondition(test: Test, call: Call, toldIf: ToldIf): Sql {
  return joined(
    'OR',
    textFields.map((field) => {
      const told = toldIf(field);
      const condition = textCondition(`job.${field}`, test, call);
      return told ? joined('AND', [told, condition]) : condition;
    }),
  );
}
