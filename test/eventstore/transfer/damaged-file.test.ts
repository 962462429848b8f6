import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../../src/domain/errors.js';
import type { RecordedEvent } from '../../../src/eventstore/port.js';
import { readExport } from '../../../src/eventstore/transfer/read-export.js';
import { same } from '../../support/same.js';
import { eventsOfFile, fileOfSqlite, historyOf, pieces, scratch } from './scratch.js';

let bytes: Buffer;
let events: RecordedEvent[];
let lines: string[];

test.before(async (t) => {
  const path = scratch({ teardown: (end) => void ends.push(end as () => void) });
  events = await historyOf(path('a.sqlite'), 150);
  bytes = await fileOfSqlite(path('a.sqlite'));
  lines = bytes.toString().trimEnd().split('\n');
  same(t, await eventsOfFile(bytes), events);
});

const ends: (() => void)[] = [];
test.after.always(() => {
  for (const end of ends) end();
});

async function refused(t: ExecutionContext, file: Uint8Array, message: RegExp, what?: string): Promise<void> {
  const error = await t.throwsAsync(eventsOfFile(file), { instanceOf: MemoirError }, what);
  t.is(error?.reason, 'BAD_EXPORT', what);
  t.regex(error?.message ?? '', message, what);
}

const fileFrom = (those: readonly string[]) => Buffer.from(`${those.join('\n')}\n`);

test('a file that ends too early anywhere is refused', async (t) => {
  const boundary = bytes.indexOf('\n', bytes.length / 2);
  const trailer = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
  const lengths = [
    0,
    1,
    4,
    boundary,
    boundary + 1,
    trailer - 1,
    trailer,
    trailer + 1,
    bytes.length - 2,
    bytes.length - 1,
  ];
  for (let i = 0; i < 60; i++) lengths.push(Math.floor(Math.random() * bytes.length));
  for (const length of lengths) await refused(t, bytes.subarray(0, length), /./, `${length} bytes`);
  await refused(t, bytes.subarray(0, trailer), /^line 152 of the export: the file ends here, without a trailer/);
  await refused(t, bytes.subarray(0, boundary), /^line \d+ of the export: the file ends in the middle of it$/);
  const gzip = gzipSync(bytes);
  for (const length of [1, 2, 10, 11, gzip.length >> 1, gzip.length - 9, gzip.length - 8, gzip.length - 1]) {
    await refused(t, gzip.subarray(0, length), /./, `${length} bytes of gzip`);
  }
  same(t, await eventsOfFile(gzip), events);
});

test('a file in which any byte is altered is refused', async (t) => {
  const trailer = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
  const places = Array.from({ length: bytes.length - trailer }, (_, i) => trailer + i);
  for (let i = 0; i < 200; i++) places.push(Math.floor(Math.random() * bytes.length));
  for (const place of places) {
    const copy = Buffer.from(bytes);
    copy[place] = (bytes[place] as number) ^ (1 << Math.floor(Math.random() * 8));
    await refused(t, copy, /./, `byte ${place} of ${bytes.length}`);
  }
});

test('compressed, a file in which a byte is altered is refused or is the same log', async (t) => {
  const gzip = gzipSync(bytes);
  let refusals = 0;
  for (let i = 0; i < 150; i++) {
    const place = i < 20 ? i : Math.floor(Math.random() * gzip.length);
    const copy = Buffer.from(gzip);
    copy[place] = (gzip[place] as number) ^ (1 << Math.floor(Math.random() * 8));
    try {
      same(t, await eventsOfFile(copy), events, `byte ${place}`);
    } catch (error) {
      t.is((error as MemoirError).reason, 'BAD_EXPORT', `byte ${place}: ${error}`);
      refusals++;
    }
  }
  t.true(refusals > 100, `only ${refusals}`);
});

test('lines that are lost, repeated or in another order are refused by their number', async (t) => {
  const without = (from: number, count = 1) => lines.toSpliced(from, count);
  const swapped = lines.with(50, lines[51] as string).with(51, lines[50] as string);
  await refused(
    t,
    fileFrom(lines.toSpliced(50, 0, lines[49] as string)),
    /^line 51 .*: position 49 does not follow 49$/,
  );
  await refused(t, fileFrom(swapped), /^line 52 .*: position 50 does not follow 51$/);
  await refused(
    t,
    fileFrom(without(1)),
    /^line \d+ of the export: revision 1 of stream "job-.*" does not follow none$/,
  );
  await refused(t, fileFrom(without(lines.length - 2)), /^line 151 .*: its trailer says events 150, .* has 149$/);
  await refused(t, fileFrom([...lines, lines[1] as string]), /^line 153 .*: something follows the trailer$/);
  await refused(t, fileFrom([...lines, '']), /^line 153 .*: something follows the trailer$/);
  await refused(t, fileFrom([lines[0] as string, ...lines]), /^line 2 .*: it has the unknown member "memoir_log"$/);
  await refused(t, fileFrom(without(0)), /^line 1 .*: this is no export of a Memoir log$/);
  const [other] = lines[0]?.match(/.*/) ?? [];
  await refused(t, fileFrom(lines.with(0, (other ?? '').replace('0.1.0', '0.1.1'))), /its trailer says sha256/);
});

test('what is no event of a log is refused by its line', async (t) => {
  const line = JSON.parse(lines[5] as string);
  const changed = (change: object) => fileFrom(lines.with(5, JSON.stringify({ ...line, ...change })));
  const cases: [object, RegExp][] = [
    [{ position: 5.5 }, /^line 6 of the export: position is 5\.5, not a whole number from 1 to/],
    [{ position: '5' }, /position is "5"/],
    [{ position: 2 ** 53 }, /position is 9007199254740992/],
    [{ position: -5 }, /position is -5/],
    [{ revision: null }, /revision is null/],
    [{ stream: 'orders-1' }, /stream "orders-1" is none of Memoir/],
    [{ stream: '' }, /stream is ""/],
    [{ stream: 'job-a\0b' }, /stream "job-a\\u0000b" is none/],
    [{ stream: `job-${'x'.repeat(2_000)}` }, /stream is "job-x+….*not well-formed text of 1 to 1024 characters/],
    [{ stream: ['job-1'] }, /stream is an object or array/],
    [{ id: line.id.toUpperCase().replace('0', 'A') }, /id ".*" is no UUID/],
    [{ id: `${line.id}\n` }, /is no UUID/],
    [{ type: '__proto__' }, /type "__proto__" is no name of a message/],
    [{ type: 'Job\u202eRequested' }, /is no name of a message/],
    [{ recorded_at: 1e30 }, /recorded_at is 1e\+30/],
    [{ metadata: undefined }, /it must have either metadata or metadata_text/],
    [{ data_text: '{}' }, /it must have either data or data_text/],
    [{ data: undefined, data_text: { a: 1 } }, /data_text is an object or array, not text/],
    [{ data: undefined, data_text: '\ud800' }, /data_text is not well-formed/],
    [{ priority: 1 }, /it has the unknown member "priority"/],
  ];
  for (const [change, message] of cases) await refused(t, changed(change), message, JSON.stringify(change));
  const raw: [string, RegExp][] = [
    ['', /^line 6 .* it is not a JSON object$/],
    ['null', /not a JSON object/],
    ['[]', /not a JSON object/],
    ['{"position":5', /not a JSON object/],
    [`${lines[5]}\r`, /sha256/],
    [(lines[5] as string).replace('{', '{"__proto__":{"position":1},'), /unknown member "__proto__"/],
    [(lines[5] as string).replace('"stream":"', '"stream":"\\ud800'), /stream is .*not well-formed/],
  ];
  for (const [text, message] of raw) await refused(t, fileFrom(lines.with(5, text)), message, text);
  const latin = Buffer.concat([fileFrom(lines.slice(0, 5)), Buffer.of(0x22, 0xff, 0x0a)]);
  await refused(t, latin, /^line 6 .*: it is not UTF-8$/);
  const deep = `${lines[5]?.replace(/"data":.*/, '')}"data":${'['.repeat(2e6)}${']'.repeat(2e6)}}`;
  await refused(t, fileFrom(lines.with(5, deep)), /^line 6 .* data is nested too deep$/);
});

test('what is no export is refused, and not shown', async (t) => {
  for (const text of [
    'Dear diary\n',
    '{"a":1}\n',
    '\0\0\0\0',
    '{"memoir_log":{}}\n',
    '{"memoir_log":2}\n',
    '[1]\n',
    '\n',
  ]) {
    await refused(t, Buffer.from(text), /this is no export|has format (an object|2)|in the middle/, text);
  }
  await refused(t, Buffer.of(0xff, 0xfe, 0x0a), /this is no export/);
  await refused(t, Buffer.of(), /the file is empty/);
  await refused(t, gzipSync('Dear diary\n'), /this is no export/);
  await refused(t, Buffer.from('{"memoir_log":1,"store":"oracle"}\n'), /store is "oracle"/);
});

test('a line without end is refused before it fills the memory', async (t) => {
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  let taken = 0;
  async function* endless() {
    yield Buffer.from(`${lines[0]}\n{"position":1,"data":"`);
    for (; taken < 200; taken++) yield chunk;
    yield Buffer.from('"}\n');
  }
  const read = async () => {
    for await (const _ of readExport(endless()));
  };
  const error = await t.throwsAsync(read());
  t.regex(error?.message ?? '', /^line 2 of the export: it is longer than 33554432 bytes$/);
  t.true(taken < 40, `${taken} MiB were taken`);
  const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, ' '));
  await refused(t, bomb, /^line 1 of the export: it is longer than/);
});

test('a file that cannot be read is an error of the system', async (t) => {
  const read = async (path: string) => {
    for await (const _ of readExport(path));
  };
  await t.throwsAsync(read('/nowhere/export'), { code: 'ENOENT' });
  await t.throwsAsync(read('/tmp'), { code: 'EISDIR' });
  async function* breaks() {
    yield* pieces(bytes.subarray(0, 1_000));
    throw new Error('the wire broke');
  }
  const broken = async () => {
    for await (const _ of readExport(breaks()));
  };
  await t.throwsAsync(broken(), { message: 'the wire broke' });
});
