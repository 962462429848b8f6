import test from 'ava';
import fc from 'fast-check';
import { printable, printableLines } from '../../src/cli/text/printable.js';
import { rounds } from '../support/rounds.js';

const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

test('whatever the text, nothing of it can control a terminal', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      t.notRegex(printable(text), unsafe);
      t.notRegex(printableLines(text).replace(/[\n\t]/g, ''), unsafe);
    }),
    { numRuns: rounds(150, 500) },
  );
});

test('ordinary text stays as it is', (t) => {
  for (const text of ['', 'plain', 'Größe 3 µm', '日本語', '🙂 smile', 'back\\slash', '"quoted"'])
    t.is(printable(text), text);
  t.is(printableLines('a\n\tb\n'), 'a\n\tb\n');
});

for (const [text, shown] of [
  ['\u001b[2J\u001b]0;title\u0007', '\\e[2J\\e]0;title\\u{7}'],
  ['a\nb\r\tc', 'a\\nb\\r\\tc'],
  ['\u009b31m', '\\u{9b}31m'],
  ['user\u202egpj.exe', 'user\\u{202e}gpj.exe'],
  ['zero\u200bwidth\ufeff', 'zero\\u{200b}width\\u{feff}'],
  ['\u{e0041}tag', '\\u{e0041}tag'],
  ['\ud800lone', '\\u{d800}lone'],
] as const) {
  test(`escaped: ${shown}`, (t) => t.is(printable(text), shown));
}
