import { randomUUID } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import test from 'ava';
import Database from 'better-sqlite3';
import { historyProjections } from '../../projections/all.js';
import { logTree, logTreeQueries } from '../../projections/history/log-tree.js';
import { openReadModelFile } from '../../projections/running/database.js';
import { growingTree } from '../../src/domain/log-tree/growing-tree.js';
import { leafHash } from '../../src/domain/log-tree/leaf.js';
import { rootOf } from '../../src/domain/log-tree/proof.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { collect } from '../contract/events.js';
import { same } from '../support/same.js';
import { catchUp, openScratch, type Scratch } from './scratch.js';

const only = { projections: historyProjections };

async function fill(scratch: Scratch, count: number): Promise<RecordedEvent[]> {
  for (let left = count; left > 0; left -= 500) {
    const events = Array.from({ length: Math.min(500, left) }, (_, i) => ({
      id: randomUUID(),
      type: 'Other',
      data: JSON.stringify({ i, text: 'é\u2028"' }),
      metadata: '{"principal":"alice"}',
    }));
    await scratch.store.append(`job-${left}`, 'any', events);
  }
  return collect(scratch.store.readAll());
}

test('every event is a leaf, in order, and each of its trees has the root of the definition', async (t) => {
  const scratch = await openScratch();
  try {
    const events = await fill(scratch, 1_300);
    const path = scratch.path('history.sqlite');
    const rows = await catchUp(scratch.store, path, { ...only, batchSize: 1 });
    for (const batchSize of [7, 256, 1_000]) {
      same(t, await catchUp(scratch.store, scratch.path(`by-${batchSize}.sqlite`), { ...only, batchSize }), rows);
    }
    const db = new Database(path, { readonly: true });
    const tree = logTreeQueries(db);
    t.is(tree.size(), 1_300);
    const naive = growingTree();
    const nodes = tree.nodes();
    for (const [i, event] of events.entries()) {
      naive.add(leafHash(event));
      if (i % 97 === 0 || i > 1_290 || i % 256 < 2) t.deepEqual(Buffer.from(rootOf(nodes, i + 1)), naive.root());
      t.is(tree.indexOf(event.position), i);
    }
    t.deepEqual(
      [0, 1, 5].flatMap((tile) => tree.positions(tile)),
      [...events.slice(0, 512), ...events.slice(1_280)].map(({ position }) => position),
    );
    for (const after of [0, 1, 255, 256, 257, 1_000, 1_299, 1_300, 2_000]) {
      const end = Math.min(1_300, (Math.floor(after / 256) + 1) * 256);
      t.deepEqual(
        tree.positionsAfter(after),
        events.slice(after, end).map(({ position }) => position),
      );
    }
    t.is(tree.indexOf(0), undefined);
    t.is(tree.indexOf(1_301), undefined);
    t.is(tree.tile(0, 6).length, 0);
    db.close();
  } finally {
    await scratch.close();
  }
});

test('it goes on where a process was killed in the middle, and after a batch that failed', async (t) => {
  const scratch = await openScratch();
  try {
    await fill(scratch, 900);
    const rows = await catchUp(scratch.store, scratch.path('whole.sqlite'), only);
    const path = scratch.path('history.sqlite');
    // A copy of the files of a database that is open is what kill -9 leaves of it.
    const killed = scratch.path('killed.sqlite');
    const open = openReadModelFile(path, historyProjections);
    await catchUp(scratch.store, path, { ...only, batches: 3, batchSize: 111 });
    for (const suffix of ['', '-wal', '-shm']) copyFileSync(path + suffix, killed + suffix);
    open.close();
    same(t, await catchUp(scratch.store, killed, { ...only, batchSize: 64 }), rows);

    const db = openReadModelFile(scratch.path('failed.sqlite'), [logTree]);
    const take = logTree.prepareBatch?.(db, () => null);
    const events = await collect(scratch.store.readAll());
    take?.(events.slice(0, 300));
    t.throws(() =>
      db.transaction(() => {
        take?.(events.slice(300, 700));
        throw new Error('the disk is full');
      })(),
    );
    take?.(events.slice(300, 700));
    const naive = growingTree();
    for (const event of events.slice(0, 700)) naive.add(leafHash(event));
    const tree = logTreeQueries(db);
    t.is(tree.size(), 700);
    t.deepEqual(Buffer.from(rootOf(tree.nodes(), 700)), naive.root());
    db.close();
  } finally {
    await scratch.close();
  }
});

test('positions may have gaps, as those of KurrentDB', (t) => {
  const db = new Database(':memory:');
  db.exec(logTree.schema);
  const take = logTree.prepareBatch?.(db, () => null);
  const events = Array.from({ length: 600 }, (_, i) => ({
    position: 2 ** 40 + i * 1_000 + (i % 7),
    stream: 'job-1',
    revision: i,
    id: `e${i}`,
    type: 'Other',
    recordedAt: i,
    metadata: '{}',
    data: '{}',
  }));
  take?.(events);
  const tree = logTreeQueries(db);
  for (const [i, { position }] of events.entries()) {
    t.is(tree.indexOf(position), i);
    t.is(tree.indexOf(position + 1), undefined);
  }
});
