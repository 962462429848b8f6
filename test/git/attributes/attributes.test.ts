import test from 'ava';
import fc from 'fast-check';
import { type AttributeFile, readAttributeFile } from '../../../src/git/attributes/attribute-file.js';
import { type Attributes, rootAttributes } from '../../../src/git/attributes/attributes.js';
import { wildmatch } from '../../../src/git/attributes/wildmatch.js';
import { makeRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';
import { checkAttr, commitRaw, quoted } from './oracle.js';

const repository = makeRepository();
test.after.always(() => repository.dispose());

/** The attributes of paths by the files of attributes among the given ones, as git's check-attr shows them. */
function shown(files: Readonly<Record<string, string>>, path: string): Record<string, string> {
  const read = (directory: string): AttributeFile | undefined => {
    const content = files[`${directory}.gitattributes`];
    return content === undefined ? undefined : readAttributeFile(Buffer.from(content, 'latin1'), directory === '');
  };
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  let attributes: Attributes = rootAttributes(read(''));
  let directory = '';
  for (const part of parts) {
    directory += `${part}/`;
    attributes = attributes.inside(part, read(directory));
  }
  const states = { true: 'set', false: 'unset' } as const;
  const found = [...attributes.of(name)].filter(([, state]) => state !== undefined);
  return Object.fromEntries(
    found.map(([key, state]) => [key, typeof state === 'string' ? state : states[`${state === true}`]]),
  );
}

const fragments = [
  'a',
  'b',
  'c',
  '/',
  '*',
  '**',
  '**/',
  '/**',
  '?',
  '[a',
  '[!a',
  '[^b',
  ']',
  '-',
  '\\',
  '[[:alpha:]',
  '[]',
  ' ',
  '.',
];
const patterns = fc.array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 7 }).map((parts) => parts.join(''));
const paths = fc
  .array(fc.string({ unit: fc.constantFrom(...'abc-].*\\'), minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 4,
  })
  .filter((parts) => parts.every((part) => !/^\.+$/.test(part)))
  .map((parts) => parts.join('/'));

/** git before 2.52 cuts the plain begin of a pattern off, and takes a "**" behind it for one at the begin. */
const known = (pattern: string) => !/[^/*]\*\*/.test(pattern);

test('patterns match as they do for git check-attr', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(patterns.filter(known), { minLength: 150, maxLength: 150 }),
      fc.uniqueArray(paths, { minLength: 60, maxLength: 60 }),
      (lines, asked) => {
        const file = lines.map((pattern, i) => `${quoted(pattern)} p${i}`).join('\n');
        const theirs = checkAttr(repository, commitRaw(repository, { '.gitattributes': file }), asked);
        for (const path of asked) t.deepEqual(shown({ '.gitattributes': file }, path), theirs.get(path), path);
      },
    ),
    { numRuns: rounds(3), endOnFailure: true },
  );
});

test('a pattern takes time within bounds, whatever it is', (t) => {
  const match = wildmatch(`${'*a'.repeat(500)}*b`);
  const begun = performance.now();
  t.false(match('a'.repeat(2_000)));
  t.true(performance.now() - begun < 10_000);
});

const hostileFiles: Record<string, string> = {
  'comments, blanks and ends of lines': '# x\n\n  \t\n *.a  one \ttwo=2\r\n*.a\tthree\n\t*.b four',
  'states, the last of which counts': '*.a one two three=3\n*.a -one !two three=4\n*.b one\n*.b !one\n*.b -one=x',
  'a mark at the begin of the file': '\xef\xbb\xbf*.a one',
  'lines of 2,048 bytes and more': `*.a one=${'x'.repeat(2_039)}\n*.b one=${'x'.repeat(2_040)}\n*.c one=${'x'.repeat(5_000)}`,
  'names that are none spoil their line': '*.a one -=x\n*.b one=1 tw(o\n*.c --one\n*.a ok=yes\n*.b =x\n*.c a.b-c_1=x',
  'negative patterns and directories': '!*.a one\n\\!*.a two\nd/ three\nd/*.a four\n/d/*.a five\nx/d/*.a six',
  'quotes, escapes, and quotes that are none':
    '"*.a" one\n"*.\\141" two\n"*.a three\n"\\x.a" four\n" x.a" five\n"*.\\303\\244" six',
  'macros, of macros, and of names defined twice':
    '[attr]m one -two three=3\n[attr]n m four\n*.a n\n*.b -m\n*.c m=x\n*.a two\n[attr]n five',
  'macros that are none': '[attr] x one\n[attr]-y one\n[attr]\n[attr]z\n"[attr]q one" x\n*.a z q',
  'binary, and binary defined anew': '*.a binary\n*.b binary text\n*.c text=auto binary\n[attr]binary mine',
};

for (const [what, file] of Object.entries(hostileFiles)) {
  test(`files of attributes with ${what} are read as git reads them`, (t) => {
    const bytes = Buffer.from(file, 'latin1');
    const asked = [
      'x.a',
      'x.b',
      'x.c',
      ' x.a',
      '!x.a',
      'd/x.a',
      'x/d/y.a',
      '"x.a',
      '"*.a',
      '[attr]',
      'x',
      'x.\xc3\xa4',
    ];
    const theirs = checkAttr(repository, commitRaw(repository, { '.gitattributes': bytes }), asked);
    for (const path of asked)
      t.deepEqual(shown({ '.gitattributes': file }, path), theirs.get(path), JSON.stringify(path));
  });
}

test('deeper files come before higher ones, and define no macros', (t) => {
  const files = {
    '.gitattributes': '[attr]m one\n*.a at=root root m\nd/*.a at=root-of-d\nd/e/f.a deep',
    'd/.gitattributes': '[attr]k two\n*.a at=d k\n/e/*.a anchored\n!m x\nf.a -m\n../x.a up\nd/x.a again',
    'd/e/.gitattributes': '*.a !at\n/f.a m !one\n** all',
    'other/.gitattributes': '*.a -root',
  };
  const asked = ['x.a', 'd/x.a', 'd/f.a', 'd/e/f.a', 'd/e/x.a', 'd/e/g/h.a', 'other/x.a', 'd/d/x.a', 'dd/x.a'];
  const theirs = checkAttr(repository, commitRaw(repository, files), asked);
  for (const path of asked) t.deepEqual(shown(files, path), theirs.get(path), path);
});
