import { Writable } from 'node:stream';
import * as zlib from 'node:zlib';
import { gunzipSync, gzipSync } from 'node:zlib';
import test from 'ava';
import { MemoirError } from '../../../src/domain/errors.js';
import {
  type Compression,
  compressionByName,
  compressionOf,
  decompressed,
} from '../../../src/eventstore/transfer/compression.js';
import { writeStream } from '../../../src/eventstore/transfer/write-file.js';
import { collect } from '../../contract/events.js';
import { pieces } from './scratch.js';

const text = Buffer.from('{"memoir_log":1}\n'.repeat(5_000));

async function* given(): AsyncGenerator<Buffer> {
  for (let i = 0; i < text.length; i += 70_000) yield text.subarray(i, i + 70_000);
}

async function written(compression: Compression): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const to = new Writable({
    write(chunk, _, done) {
      chunks.push(chunk);
      done();
    },
  });
  await writeStream(to, given(), { compression });
  t0(!to.writableEnded);
  return Buffer.concat(chunks);
}

function t0(holds: boolean): void {
  if (!holds) throw new Error('the stream was ended');
}

const read = async (bytes: Uint8Array, size?: number) =>
  Buffer.concat(await collect(decompressed(pieces(bytes, size))));

test('what is written is read, however it comes in pieces', async (t) => {
  for (const compression of ['none', 'gzip'] as const) {
    const bytes = await written(compression);
    t.is(compressionOf(bytes), compression);
    for (const size of [1, 3, 4_096, bytes.length]) {
      if (size > 1 || compression === 'gzip') t.deepEqual(await read(bytes, size), text);
    }
  }
  t.deepEqual(gunzipSync(await written('gzip')), text);
  t.deepEqual(await read(Buffer.concat([gzipSync('ab'), gzipSync('cd')])), Buffer.from('abcd'));
  for (const short of ['', '{', '\x1f']) t.is((await read(Buffer.from(short, 'latin1'))).toString('latin1'), short);
});

test('zstd is used where Node.js has it, and refused where it has not', async (t) => {
  if ('createZstdCompress' in zlib) {
    const bytes = await written('zstd');
    t.is(compressionOf(bytes), 'zstd');
    t.deepEqual(await read(bytes, 1_000), text);
    const altered = bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte));
    await t.throwsAsync(read(altered));
  } else {
    await t.throwsAsync(written('zstd'), { instanceOf: MemoirError, message: /^zstd needs Node.js 22.15 or newer/ });
    await t.throwsAsync(read(Buffer.from('28b52ffd00', 'hex')), {
      instanceOf: MemoirError,
      message: /^zstd needs Node/,
    });
  }
});

test('names say how files are compressed', (t) => {
  t.deepEqual(['a.gz', 'a.jsonl.zst', 'a.jsonl', 'gz', '-'].map(compressionByName), [
    'gzip',
    'zstd',
    'none',
    'none',
    'none',
  ]);
});
