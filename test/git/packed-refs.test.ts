import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { openPackedRefs } from '../../src/git/packed-refs.js';
import { rounds } from '../support/rounds.js';

type Packed = { readonly name: string; readonly id: string; readonly peeled: boolean };

const parts = fc.oneof(
  fc.constantFrom('a', 'b', 'ab', 'é', '𝒳', 'zz'),
  fc.integer({ min: 200, max: 400 }).map((length) => 'long'.repeat(length)),
);

/** Refs in the byte order of their names, as git sorts them. */
const packedRefs = fc
  .uniqueArray(
    fc.record({
      name: fc.array(parts, { minLength: 1, maxLength: 4 }).map((path) => `refs/${path.join('/')}`),
      id: fc.stringMatching(/^[0-9a-f]{40}$/),
      peeled: fc.boolean(),
    }),
    { selector: ({ name }) => name, maxLength: 40 },
  )
  .map((refs) => refs.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))));

const lineOf = ({ name, id, peeled }: Packed) => `${id} ${name}\n${peeled ? `^${id}\n` : ''}`;

const forms: Record<string, (refs: readonly Packed[]) => string> = {
  'as git writes it': (refs) => `# pack-refs with: peeled fully-peeled sorted \n${refs.map(lineOf).join('')}`,
  'in order, which it does not say': (refs) => `# pack-refs with: peeled \n${refs.map(lineOf).join('')}`,
  'without a header and a last line end': (refs) => refs.map(lineOf).join('').replace(/\n$/, ''),
  'in another order': (refs) => `# pack-refs with: peeled \n${refs.toReversed().map(lineOf).join('')}`,
};

function openFile(t: ExecutionContext, content: string) {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-refs-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'packed-refs');
  writeFileSync(path, content);
  return openPackedRefs(path, 40, Date.now, (what) => new Error(what));
}

for (const [form, write] of Object.entries(forms)) {
  test(`every ref of a file is found, and nothing else: ${form}`, (t) => {
    fc.assert(
      fc.property(packedRefs, (refs) => {
        const packed = openFile(t, write(refs));
        for (const { name, id } of refs) {
          t.is(packed.get(name), id);
          for (const other of [`${name}!`, name.slice(0, -1), `${name}/x`]) {
            t.is(packed.get(other), refs.find((ref) => ref.name === other)?.id);
          }
        }
        t.deepEqual([...packed.entries()].map(({ name }) => name).sort(), refs.map(({ name }) => name).sort());
        packed.close();
      }),
      { numRuns: rounds(25, 60) },
    );
  });
}

test('a malformed line is told when it is come to', (t) => {
  for (const content of [
    'short\n',
    `${'1'.repeat(40)}\n`,
    `${'x'.repeat(40)} refs/heads/main\n`,
    '\n\n',
    '\0'.repeat(99),
  ]) {
    const packed = openFile(t, content);
    t.throws(() => packed.get('refs/heads/main'), { message: /packed-refs has/ }, JSON.stringify(content));
    packed.close();
  }
});
