import { pipeline, Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { invalid } from '../../domain/errors.js';

/** How a file may be compressed. */
export const compressions = ['none', 'gzip', 'zstd'] as const;

/** A way of compressing a file. */
export type Compression = (typeof compressions)[number];

/** First bytes of a file that is compressed: RFC 1952, section 2.3.1; RFC 8878, section 3.1.1. */
const magics: readonly (readonly [Compression, Buffer])[] = [
  ['gzip', Buffer.of(0x1f, 0x8b)],
  ['zstd', Buffer.of(0x28, 0xb5, 0x2f, 0xfd)],
];

/** Bytes that tell how a file is compressed. */
export const magicLength = 4;

/** Node.js has zstd from 22.15 on. */
type Zstd = {
  readonly createZstdCompress?: (options: { readonly params: Readonly<Record<number, number>> }) => Transform;
  readonly createZstdDecompress?: () => Transform;
};
const zstd = zlib as Zstd;

/** ZSTD_c_checksumFlag: the file has a checksum of its own, as gzip's do, which `zstd -t` looks at. */
const checksumFlag = 201;

/** How the file is compressed that begins with these bytes. */
export function compressionOf(head: Uint8Array): Compression {
  const found = magics.find(([, magic]) => magic.equals(head.subarray(0, magic.length)));
  return found?.[0] ?? 'none';
}

/** How a file of that name is usually compressed. */
export function compressionByName(name: string): Compression {
  if (name.endsWith('.gz')) return 'gzip';
  return name.endsWith('.zst') ? 'zstd' : 'none';
}

/** A stream that compresses; none where there is nothing to do. @throws MemoirError if this Node.js has no zstd */
export function compressor(compression: Compression): Transform | undefined {
  if (compression === 'none') return undefined;
  if (compression === 'gzip') return zlib.createGzip();
  return (zstd.createZstdCompress ?? withoutZstd)({ params: { [checksumFlag]: 1 } });
}

/**
 * What was compressed, whichever way it was.
 * @throws MemoirError if this Node.js has no zstd; and as the source and the decompressor do, whose errors have a code
 */
export async function* decompressed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < magicLength) {
    const { value, done } = await source.next();
    if (done) break;
    first.push(value);
    length += value.length;
  }
  const all = (async function* () {
    try {
      yield* first;
      for (let next = await source.next(); !next.done; next = await source.next()) yield next.value;
    } finally {
      await source.return?.();
    }
  })();
  let transform: Transform | undefined;
  try {
    transform = decompressor(compressionOf(Buffer.concat(first).subarray(0, magicLength)));
  } catch (error) {
    await source.return?.();
    throw error;
  }
  if (!transform) return yield* all;
  yield* pipeline(Readable.from(all), transform, () => undefined);
}

function decompressor(compression: Compression): Transform | undefined {
  if (compression === 'none') return undefined;
  if (compression === 'gzip') return zlib.createGunzip();
  return (zstd.createZstdDecompress ?? withoutZstd)();
}

function withoutZstd(): never {
  throw invalid(
    'compress',
    'NO_ZSTD',
    `zstd needs Node.js 22.15 or newer, and this is ${process.version}: use gzip, or the program zstd in a pipe`,
  );
}
