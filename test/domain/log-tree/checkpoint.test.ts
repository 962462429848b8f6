import { generateKeyPairSync, sign } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import { checkpointText, openCheckpoint, parseCheckpoint } from '../../../src/domain/log-tree/checkpoint.js';
import { formatNote, parseNote, verifyNote } from '../../../src/domain/log-tree/signed-note.js';
import { bytesOfKey, isKeyName, parseVerifierKey, verifierKey } from '../../../src/domain/log-tree/verifier-key.js';

// The example of the Go package golang.org/x/mod/sumdb/note, whose format C2SP signed-note is.
const peter = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const essay = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const signedEssay = `${essay}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

const pair = generateKeyPairSync('ed25519');
const key = verifierKey('memoir/test', bytesOfKey(pair.publicKey));
const signed = (text: string, by = key) => formatNote(text, by, sign(null, Buffer.from(text), pair.privateKey));
const body = { origin: 'memoir/test', size: 12, root: Buffer.alloc(32, 7) };

test('the example of the signed-note format is read, and verified', (t) => {
  const note = parseNote(signedEssay);
  t.is(note.text, essay);
  t.like(verifyNote(note, [parseVerifierKey(peter)]), { verdict: 'signed', key: { name: 'PeterNeumann' } });
  t.is(parseVerifierKey(peter).text, peter);
});

test('a note survives writing and reading, whatever its text', (t) => {
  const line = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !/\p{Cc}/u.test(text));
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 5 }), (lines) => {
      const text = `${lines.join('\n')}\n`;
      fc.pre(text !== '\n');
      const note = parseNote(signed(text));
      t.is(note.text, text);
      t.is(verifyNote(note, [key]).verdict, 'signed');
      t.is(verifyNote({ ...note, text: `${text}x\n` }, [key]).verdict, 'forged');
    }),
  );
});

test('malformed notes are refused, naming them', (t) => {
  const good = signed('text\n');
  const cases: [note: string, message: RegExp][] = [
    ['', /is not lines, an empty line/],
    ['text\n', /is not lines, an empty line/],
    [good.slice(0, -1), /is not lines, an empty line/],
    [good.replace('\n\n', '\n'), /is not lines, an empty line/],
    [`${good}\n`, /is not the line of a signature|is not lines/],
    [good.replace('—', '-'), /"- memoir\/test .*" is not the line of a signature/],
    [good.replace('memoir/test', 'a+b'), /is not the line of a signature/],
    [good.replace('memoir/test', 'a b'), /is not the line of a signature/],
    [good.replace('=\n', '\n'), /is not the line of a signature/],
    [good.replace('=\n', '=\r\n'), /characters that a note may not have/],
    [`te\0xt\n\n— a AAAAAAA=\n`, /"te\\u0000xt/],
    [`te\u009bxt\n\n— a AAAAAAA=\n`, /characters that a note may not have/],
    [`\ud800\n\n— a AAAAAAA=\n`, /characters that a note may not have/],
    ['x\n\n— a AAAA\n', /is not the line of a signature/],
    [`x\n\n${'— a AAAAAAA=\n'.repeat(101)}`, /more than 100 signatures/],
    [`${'x'.repeat(70_000)}\n\n— a AAAAAAA=\n`, /longer than 65536 characters/],
  ];
  for (const [note, message] of cases) {
    const error = t.throws(() => parseNote(note), { instanceOf: MemoirError }, JSON.stringify(note.slice(0, 99)));
    t.is(error?.code, 'INVALID_ARGUMENT');
    t.regex(error?.message ?? '', message);
  }
});

test('keys are read from their text alone', (t) => {
  t.is(parseVerifierKey(key.text).text, key.text);
  const cases: [text: string, message: RegExp][] = [
    ['', /key "" is not a name/],
    ['name', /is not a name/],
    [key.text.replace('memoir/test', ''), /is not a name/],
    [key.text.replace('memoir/test', 'other'), /has the id "[0-9a-f]{8}", but that of such a key is [0-9a-f]{8}/],
    [key.text.replace('memoir/test', 'a b'), /is not a name/],
    [key.text.slice(0, -1), /is not a name/],
    [`${key.text}A`, /is not a name/],
    [`a+00000000+${Buffer.alloc(33, 2).toString('base64')}`, /is no Ed25519 key/],
    [`a+00000000+${Buffer.alloc(32, 1).toString('base64')}`, /is no Ed25519 key/],
    [`a+0000000G+${Buffer.alloc(33, 1).toString('base64')}`, /is not a name/],
  ];
  for (const [text, message] of cases) {
    const error = t.throws(() => parseVerifierKey(text), { instanceOf: MemoirError }, text);
    t.regex(error?.message ?? '', message);
  }
  for (const name of ['', ' ', 'a\u00a0b', 'a\u2003b', '\u202ea', 'a\n', 'a+b', '\ud800', 'x'.repeat(256)]) {
    t.false(isKeyName(name), JSON.stringify(name));
  }
  for (const name of ['memoir/1a2b3c4d', 'log.example.org/memoir', 'журнал']) t.true(isKeyName(name), name);
});

test('a checkpoint is read as it was written; extensions are passed over', (t) => {
  const text = checkpointText(body);
  t.is(text, 'memoir/test\n12\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n');
  t.deepEqual(parseCheckpoint(text), body);
  t.deepEqual(parseCheckpoint(`${text}more\nand more\n`), body);
  t.like(openCheckpoint(signed(text), [key]), { size: 12, origin: 'memoir/test', key: { id: key.id } });
});

test('malformed checkpoints are refused', (t) => {
  const text = checkpointText(body);
  const cases = [
    '',
    text.slice(0, -1),
    text.replace('12', '012'),
    text.replace('12', '-12'),
    text.replace('12', '1e3'),
    text.replace('12', ''),
    text.replace('12', '9007199254740993'),
    text.replace('12', '99999999999999999'),
    text.replace('BwcH', 'Bwc'),
    text.replace('=', ''),
    text.replace('memoir/test', ''),
    `${text}\n`,
    `${text}a\n\nb\n`,
    '\n'.repeat(4),
  ];
  for (const one of cases) {
    const error = t.throws(() => parseCheckpoint(one), { instanceOf: MemoirError }, JSON.stringify(one));
    t.is(error?.reason, 'BAD_CHECKPOINT');
  }
});

test('a checkpoint that no known key signed, or a forged one, is refused for that', (t) => {
  const text = checkpointText(body);
  const other = verifierKey('memoir/test', bytesOfKey(generateKeyPairSync('ed25519').publicKey));
  const stranger = t.throws(() => openCheckpoint(signed(text), [other]), { instanceOf: MemoirError });
  t.is(stranger?.reason, 'UNKNOWN_KEY');
  t.is(t.throws(() => openCheckpoint(signed(text), []), { instanceOf: MemoirError })?.reason, 'UNKNOWN_KEY');
  const raised = t.throws(() => openCheckpoint(signed(text).replace('\n12\n', '\n13\n'), [key]), {
    instanceOf: MemoirError,
  });
  t.is(raised?.reason, 'FORGED_CHECKPOINT');
  t.is(raised?.code, 'DATA_LOSS');
  const claimed = t.throws(() => openCheckpoint(signed(text, other), [other, key]), { instanceOf: MemoirError });
  t.is(claimed?.reason, 'FORGED_CHECKPOINT');
  const foreign = signed(checkpointText({ ...body, origin: 'memoir/other' }));
  t.is(t.throws(() => openCheckpoint(foreign, [key]), { instanceOf: MemoirError })?.reason, 'FORGED_CHECKPOINT');
});
