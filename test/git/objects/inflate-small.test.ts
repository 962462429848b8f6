import { deflateSync, inflateSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { inflateInto, inflateSmall } from '../../../src/git/objects/inflate-small.js';
import type { GitObject } from '../../../src/git/objects/object.js';
import { recentObjects } from '../../../src/git/objects/recent-objects.js';

test('few bytes are inflated as by zlib itself, whatever follows them', (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 2_000 }),
    fc.string({ maxLength: 2_000 }).map((text) => Buffer.from(text)),
  );
  let answered = 0;
  fc.assert(
    fc.property(bytes, fc.uint8Array({ maxLength: 50 }), fc.integer({ min: 0, max: 9 }), (content, behind, level) => {
      const deflated = deflateSync(content, { level });
      const stream = Buffer.concat([deflated, behind]);
      const inflated = inflateSmall(stream, content.length);
      if (inflated) answered++;
      const room = Buffer.alloc(4_096, 0xff);
      const took = inflateInto(stream, room, content.length);
      return Boolean(
        inflated?.equals(content) &&
          inflated.equals(inflateSync(stream)) &&
          took === deflated.length &&
          room.subarray(0, content.length).equals(content),
      );
    }),
  );
  t.true(answered > 0);
});

test('what is cut off, damaged, longer or shorter than it says gets no answer, and what comes next is none the worse', (t) => {
  const content = Buffer.from('some content, some content, some content');
  const stream = deflateSync(content);
  for (let length = 0; length < stream.length; length++) {
    t.is(inflateSmall(stream.subarray(0, length), content.length), undefined, `cut to ${length}`);
  }
  for (let at = 0; at < stream.length; at++) {
    const damaged = Buffer.from(stream);
    damaged[at] = (damaged[at] ?? 0) ^ 0xff;
    t.is(inflateSmall(damaged, content.length), undefined, `damaged at ${at}`);
  }
  for (const size of [0, 1, content.length - 1, content.length + 1, content.length * 2]) {
    t.is(inflateSmall(stream, size), undefined, `as ${size} bytes`);
  }
  t.deepEqual(inflateSmall(stream, content.length), content);
});

test('the objects of a pack that were read last are kept, and no more than there is room for', (t) => {
  const recent = recentObjects();
  const object = (bytes: number): GitObject => ({ type: 'commit', data: Buffer.alloc(bytes) });
  for (let offset = 0; offset < 1_000; offset++) recent.put(offset, object(4_096));
  const kept = Array.from({ length: 1_000 }, (_, offset) => offset).filter((offset) => recent.get(offset));
  t.true(kept.length > 0 && kept.length * 4_096 <= 128 * 1024);
  t.is(kept.at(-1), 999);
  recent.put(2_000, object(4_097));
  t.is(recent.get(2_000), undefined);
  const few = recentObjects();
  for (let offset = 0; offset < 100_000; offset++) few.put(offset, object(0));
  t.is(few.get(0), undefined);
});
