import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { hasLostBefore, keepLostTips, noteLostTips, readLostTips } from '../../../src/git/prune/lost-tips.js';

const id = (n: number): string => String(n).repeat(40);

test('what refs named and no longer do is known with its time, until they name it again', (t) => {
  const path = mkdtempSync(join(tmpdir(), 'memoir-lost-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const lost = () => Object.fromEntries(readLostTips(path)?.lost ?? []);
  t.is(readLostTips(path), undefined);
  t.false(hasLostBefore(path, Number.MAX_SAFE_INTEGER));
  noteLostTips(path, [], new Set([id(1), id(2)]), 100);
  t.deepEqual(lost(), {});
  noteLostTips(path, [id(1), id(2)], new Set([id(2), id(3)]), 200);
  t.deepEqual(lost(), { [id(1)]: 200 });
  // It was lost when it was seen to be, whatever is lost later.
  noteLostTips(path, [id(1), id(2), id(3)], new Set([id(2)]), 300);
  t.deepEqual(lost(), { [id(1)]: 200, [id(3)]: 300 });
  t.deepEqual(
    [99, 100, 199, 200].map((time) => hasLostBefore(path, time)),
    [false, false, false, true],
  );
  noteLostTips(path, [id(2)], new Set([id(1), id(2)]), 400);
  t.deepEqual(lost(), { [id(3)]: 300 });
  noteLostTips(path, [id(1), id(2)], new Set([id(2)]), 500);
  t.deepEqual(lost(), { [id(3)]: 300, [id(1)]: 500 });
  keepLostTips(path, { since: 100, lost: new Map([[id(1), 500]]) });
  t.is(readLostTips(path)?.since, 100);
  t.false(hasLostBefore(path, 499));
});

test('a file that nobody can read begins anew: nothing counts as lost long ago', (t) => {
  const path = mkdtempSync(join(tmpdir(), 'memoir-lost-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  writeFileSync(join(path, 'memoir-lost'), `what?\n${id(1)} 5\n`);
  t.false(hasLostBefore(path, 1_000));
  noteLostTips(path, [id(2)], new Set(), 2_000);
  t.deepEqual(readLostTips(path), { since: 2_000, lost: new Map([[id(2), 2_000]]) });
  // What is cut off is passed over.
  writeFileSync(join(path, 'memoir-lost'), `1\n${id(1)} 5\n${id(2).slice(0, 30)}`);
  t.deepEqual(readLostTips(path), { since: 1, lost: new Map([[id(1), 5]]) });
});
