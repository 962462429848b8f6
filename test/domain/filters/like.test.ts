import test from 'ava';
import fc from 'fast-check';
import { compareText } from '../../../src/domain/filters/compare-text.js';
import { foldCase, likeLiteral, likeMatcher, likePrefix, parseLike } from '../../../src/domain/filters/like.js';
import { parseTimestamp } from '../../../src/domain/filters/timestamp.js';
import { rounds } from '../../support/rounds.js';

function like(pattern: string, text: string, fold = false): boolean {
  const parsed = parseLike(pattern, fold);
  if (!parsed) throw new Error(`${pattern} is no pattern`);
  return likeMatcher(parsed)(text);
}

test('% takes any text, _ one character, \\ makes the next one literal', (t) => {
  const cases: [pattern: string, text: string, matches: boolean][] = [
    ['', '', true],
    ['', 'a', false],
    ['%', '', true],
    ['%', 'anything\nat all', true],
    ['%%%', 'a', true],
    ['_', '', false],
    ['_', '😀', true],
    ['__', '😀', false],
    ['a%', 'abc', true],
    ['a%', 'ba', false],
    ['%c', 'abc', true],
    ['%c', 'cb', false],
    ['a%a', 'a', false],
    ['a%a', 'aa', true],
    ['ab%ba', 'aba', false],
    ['%b_d%', 'abcde', true],
    ['%b_d%', 'abde', false],
    ['%aab%', 'aaab', true],
    ['%a_b%a_b', 'axbaxb', true],
    ['%a_b%a_b', 'axaxb', false],
    ['50\\%', '50%', true],
    ['50\\%', '500', false],
    ['a\\_b', 'a_b', true],
    ['a\\_b', 'axb', false],
    ['\\\\', '\\', true],
    ['\\a', 'a', true],
    ['A', 'a', false],
    ['.*', 'xx', false],
  ];
  for (const [pattern, text, matches] of cases) t.is(like(pattern, text), matches, `${pattern} on ${text}`);
  t.is(parseLike('a\\', false), undefined);
});

test('ilike folds by the simple lower-case mappings of Unicode', (t) => {
  const cases: [pattern: string, text: string, matches: boolean][] = [
    ['HASH%', 'hash.py', true],
    ['größe', 'GRÖßE', true],
    ['ПОГОДА', 'погода', true],
    ['straße', 'STRASSE', false],
    ['\u212a', 'k', true],
    ['k', '\u212a', true],
    ['İ', 'i', false],
    ['ΣΑΣ', 'σασ', true],
    ['𐐀', '𐐨', true],
  ];
  for (const [pattern, text, matches] of cases) t.is(like(pattern, text, true), matches, `${pattern} on ${text}`);
});

const letter = fc.constantFrom('a', 'b', 'A', '%', '_', '\\', '😀', 'é', 'É', '\u212a', 'k', '\n');
const word = fc.array(letter, { maxLength: 12 }).map((letters) => letters.join(''));

/** The same as a regular expression, which may take time without end on long patterns. */
function byRegExp(pattern: string, text: string, fold: boolean): boolean {
  const prepare = fold ? foldCase : (one: string) => one;
  let source = '';
  const characters = [...prepare(pattern)];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] as string;
    if (character === '%') source += '[\\s\\S]*';
    else if (character === '_') source += '[\\s\\S]';
    else {
      const literal = character === '\\' ? (characters[++i] as string) : character;
      source += `\\u{${(literal.codePointAt(0) as number).toString(16)}}`;
    }
  }
  return new RegExp(`^${source}$`, 'u').test(prepare(text));
}

test('the matcher agrees with regular expressions, and what is searched for first is in every match', (t) => {
  let matched = 0;
  fc.assert(
    fc.property(word, word, fc.boolean(), fc.boolean(), (pattern, other, fold, near) => {
      const parsed = parseLike(pattern, fold);
      if (!parsed) return;
      // Few texts match a pattern by chance: half of them are made from it.
      const text = near ? pattern.replaceAll('%', other.slice(0, 2)).replaceAll('_', 'k').replaceAll('\\', '') : other;
      const matches = likeMatcher(parsed)(text);
      t.is(matches, byRegExp(pattern, text, fold), JSON.stringify([pattern, text, fold]));
      if (!matches) return;
      matched++;
      t.true(text.replace(/[A-Z]/g, (upper) => upper.toLowerCase()).includes(likeLiteral(parsed)) || !fold);
      if (!fold) t.true(text.includes(likeLiteral(parsed)) && text.startsWith(likePrefix(parsed)));
    }),
    { numRuns: rounds(1_000, 5_000) },
  );
  t.true(matched > rounds(1_000, 5_000) / 10);
});

test('a long piece with wildcards is found across words of 32 characters', (t) => {
  const piece = `${'ab_d'.repeat(20)}x`;
  const text = `${'abcd'.repeat(50)}${'abcd'.repeat(20)}x${'y'.repeat(10)}`;
  t.true(like(`%${piece}%`, text));
  t.false(like(`%${piece}z%`, text));
  t.true(like(`%${'_'.repeat(64)}%`, 'x'.repeat(64)));
  t.false(like(`%${'_'.repeat(65)}%`, 'x'.repeat(64)));
});

test('patterns that make others backtrack without end take no longer', (t) => {
  const text = 'a'.repeat(65_536);
  t.false(like(`${'%a'.repeat(400)}%b`, text));
  t.false(like(`%${'a_'.repeat(200)}b%`, text));
  t.true(like('%a'.repeat(400), text));
});

test('texts are ordered as their UTF-8 bytes are', (t) => {
  const text = fc.string({ unit: 'binary', maxLength: 6 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      t.is(Math.sign(compareText(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
  t.true(compareText('\u{1f600}', '\uffff') > 0);
  t.true(compareText('\ud7ff', '\ue000') < 0);
});

test('timestamps are RFC 3339', (t) => {
  const cases: [text: string, ms: number | undefined][] = [
    ['1970-01-01T00:00:00Z', 0],
    ['2026-01-02T12:00:00Z', Date.UTC(2026, 0, 2, 12)],
    ['2026-01-02t12:00:00.5z', Date.UTC(2026, 0, 2, 12, 0, 0, 500)],
    ['2026-01-02T12:00:00+02:30', Date.UTC(2026, 0, 2, 9, 30)],
    ['2026-01-02T12:00:00-00:30', Date.UTC(2026, 0, 2, 12, 30)],
    ['1970-01-01T00:00:00.000000001Z', 0.5],
    ['1970-01-01T00:00:00.001999999Z', 1.5],
    ['0001-01-01T00:00:00Z', -62135596800000],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    ['2026-02-29T00:00:00Z', undefined],
    ['2026-13-01T00:00:00Z', undefined],
    ['2026-00-01T00:00:00Z', undefined],
    ['2026-01-01T24:00:00Z', undefined],
    ['2026-01-01T23:59:60Z', undefined],
    ['2026-01-01T00:00:00', undefined],
    ['2026-01-01', undefined],
    ['2026-01-01T00:00:00.0000000001Z', undefined],
    ['2026-01-01T00:00:00+24:00', undefined],
    [' 2026-01-01T00:00:00Z', undefined],
    ['now', undefined],
  ];
  for (const [text, ms] of cases) t.is(parseTimestamp(text), ms, text);
});
