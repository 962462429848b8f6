import test from 'ava';
import fc from 'fast-check';
import { invalid, MemoirError, messageOf, quote } from '../../src/domain/errors.js';

test('a quoted value cannot break a line, a terminal or the reading order', (t) => {
  const cases: [text: string, quoted: string][] = [
    ['', '""'],
    ['plain', '"plain"'],
    ['ünï 日本 😀', '"ünï 日本 😀"'],
    ['a"b\\c', '"a\\"b\\\\c"'],
    ['a\nb\r\tc\u0000', '"a\\nb\\r\\tc\\u0000"'],
    ['\u001b[31mred\u009b0m', '"\\u001b[31mred\\u009b0m"'],
    ['\u202eexe.txt\u2066\u061c', '"\\u202eexe.txt\\u2066\\u061c"'],
    ['zero\u200bwidth\ufeff\u00ad', '"zero\\u200bwidth\\ufeff\\u00ad"'],
    ['\u2028\u2029\u007f', '"\\u2028\\u2029\\u007f"'],
    ['tag\u{e0041}', '"tag\\udb40\\udc41"'],
    ['half \ud83d', '"half \ufffd"'],
  ];
  for (const [text, quoted] of cases) t.is(quote(text), quoted);
});

test('a long value is cut, and its length told', (t) => {
  t.is(quote('x'.repeat(200)), `"${'x'.repeat(200)}"`);
  t.is(quote('x'.repeat(201)), `"${'x'.repeat(200)}…" (201 characters)`);
  t.is(quote('abcdef', 3), '"abc…" (6 characters)');
  t.is(quote('ab😀', 3), '"ab\ufffd…" (4 characters)');
});

test('a quoted value is one printable line of JSON that says what it was', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
      const quoted = quote(text, 1_000);
      t.notRegex(quoted, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      t.is(JSON.parse(quoted), text.toWellFormed());
    }),
  );
});

test('an error carries what a status needs', (t) => {
  const error = invalid('script', 'BAD_SCRIPT', 'no such script');
  t.true(error instanceof MemoirError && error instanceof Error);
  t.like(error, { code: 'INVALID_ARGUMENT', reason: 'BAD_SCRIPT', field: 'script', metadata: {}, name: 'MemoirError' });
  const cause = new Error('disk');
  t.is(new MemoirError('INTERNAL', 'X', 'y', { cause }).cause, cause);
  t.false('cause' in new MemoirError('INTERNAL', 'X', 'y'));
});

test('whatever is thrown has a text', (t) => {
  const refused = Object.assign(new Error('connect ECONNREFUSED ::1:1'), { code: 'ECONNREFUSED' });
  const cases: [thrown: unknown, text: string][] = [
    [new MemoirError('INTERNAL', 'X', 'it is full'), 'it is full'],
    [new AggregateError([refused, new Error('timed out')]), 'connect ECONNREFUSED ::1:1; timed out'],
    [new AggregateError([]), 'AggregateError'],
    [Object.assign(new Error(), { code: 'ENOSPC' }), 'ENOSPC'],
    [new Error(), 'Error'],
    [{ message: 'no class' }, 'no class'],
    [Object.create(null), 'an error without a message'],
    ['a text', 'a text'],
    ['', 'nothing was thrown, which is no error'],
    [undefined, 'undefined was thrown, which is no error'],
    [null, 'null was thrown, which is no error'],
    [Symbol('s'), 'Symbol(s) was thrown, which is no error'],
  ];
  for (const [thrown, text] of cases) t.is(messageOf(thrown), text);
});
