/** A piece of SQL and the values of its parameters. */
export type Sql = { readonly text: string; readonly values: readonly (string | number)[] };

/** A piece of SQL. */
export function sql(text: string, ...values: (string | number)[]): Sql {
  return { text, values };
}

/** Pieces put together by "AND" or "OR", each in parentheses. Of none, "AND" is true and "OR" is false. */
export function joined(operator: 'AND' | 'OR', pieces: readonly Sql[]): Sql {
  if (pieces.length === 0) return sql(operator === 'AND' ? '1' : '0');
  return {
    text: pieces.map(({ text }) => `(${text})`).join(` ${operator} `),
    values: pieces.flatMap(({ values }) => values),
  };
}

/** That an expression is one of some values, which are as many parameters or one list. */
export function isOneOf(expression: string, values: readonly (string | number)[]): Sql {
  const [one] = values;
  if (one === undefined) return sql('0');
  if (values.length === 1) return sql(`${expression} = ?`, one);
  // A list of texts is one parameter, so that lists of any length share a statement.
  if (values.every((value) => typeof value === 'string')) {
    return sql(`${expression} IN (SELECT value FROM json_each(?))`, JSON.stringify(values));
  }
  return sql(`${expression} IN (${values.map(() => '?').join(', ')})`, ...values);
}
