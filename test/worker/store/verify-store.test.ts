import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { systemEdge } from '../../../src/edge.js';
import { blobPath, openContentStore } from '../../../src/worker/store/content-store.js';
import { holds, type StoreFinding, verifyStore } from '../../../src/worker/store/verify-store.js';

const sha256Of = (text: string) => createHash('sha256').update(text).digest('hex');

test('a store is whole, or is told what is damaged, lost and foreign', async (t) => {
  const base = mkdtempSync(join(tmpdir(), 'memoir-verify-'));
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  const store = join(base, 'store');
  const output = join(base, 'output');
  mkdirSync(join(output, 'd'), { recursive: true });
  for (const name of ['a', 'd/b', 'd/c']) writeFileSync(join(output, name), `content of ${name}`);
  writeFileSync(join(output, 'manifest-like'), '{"files":[{"path":"x"}]}');
  const contents = await openContentStore(store, { edge: systemEdge });
  const address = await contents.putDirectory(output);
  const verify = async () => {
    const findings: StoreFinding[] = [];
    const counts = await verifyStore(store, async (finding) => void findings.push(finding));
    return { counts, findings };
  };
  const whole = await verify();
  t.deepEqual(whole.findings, []);
  t.like(whole.counts, { contents: 5, manifests: 1 });
  t.true(await holds(store, address));
  t.true(await holds(store, 'the address of another kind of store'));

  const [a, b] = ['a', 'd/b'].map((name) => sha256Of(`content of ${name}`)) as [string, string];
  rmSync(blobPath(store, a));
  rmSync(blobPath(store, b));
  writeFileSync(blobPath(store, b), 'content of d/x');
  writeFileSync(join(store, 'sha256', readdirSync(join(store, 'sha256'))[0] ?? '', 'notes.txt'), '');
  const { findings } = await verify();
  t.deepEqual(findings.map(({ kind }) => kind).sort(), ['damaged', 'foreign', 'lost']);
  t.like(
    findings.find(({ kind }) => kind === 'lost'),
    { address, path: 'a', sha256: a },
  );
  t.like(
    findings.find(({ kind }) => kind === 'damaged'),
    { sha256: b },
  );
  rmSync(blobPath(store, address.slice(7)));
  t.false(await holds(store, address));
});
