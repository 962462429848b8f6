import { createHash, randomFillSync } from 'node:crypto';
import test from 'ava';
import { checksum } from '../../../src/git/graph/checksum.js';

for (const algorithm of ['sha1', 'sha256'] as const) {
  test(`is that of the bytes before the end, of few as of so many that a thread does it: ${algorithm}`, async (t) => {
    for (const length of [0, 1_000, 17 * 1024 * 1024]) {
      const bytes = new SharedArrayBuffer(length + 20);
      const view = randomFillSync(Buffer.from(bytes));
      const expected = createHash(algorithm).update(view.subarray(0, length)).digest('hex');
      t.is(await checksum({ bytes, length, algorithm }), expected, `${length} bytes`);
    }
  });
}
