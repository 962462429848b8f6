import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { collect, numbered } from '../contract/events.js';
import { startChild } from './child.js';

/** What the lines of `append-child` acknowledge: "stream/revision" of each event. */
function acknowledged(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const [, stream, last, count] = /^ok (\S+) (\d+) (\d+)$/.exec(line) ?? [];
    return Array.from({ length: Number(count ?? 0) }, (_, i) => `${stream}/${Number(last) - i}`);
  });
}

/** What is wrong with a log that `append-child` wrote: holes, and appends of which a part is missing. */
function faults(events: readonly RecordedEvent[]): string[] {
  const found: string[] = [];
  const next = new Map<string, number>();
  const open = new Map<string, number>();
  for (const { stream, revision, data } of events) {
    if (revision !== (next.get(stream) ?? 0)) found.push(`${stream} goes on at ${revision}`);
    next.set(stream, revision + 1);
    const [index = Number.NaN, count = Number.NaN] = /^"(\d)\/(\d)\.*"$/.exec(data)?.slice(1).map(Number) ?? [];
    if (index !== (open.get(stream) ?? 0)) found.push(`${stream}/${revision} is part ${index} of an append`);
    open.set(stream, (index + 1) % count);
  }
  for (const [stream, part] of open) if (part !== 0) found.push(`${stream} ends in the middle of an append`);
  return found;
}

test('after kill -9 at any moment every acknowledged append is there, and no half of one', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'memoir-crash-'));
  const path = join(directory, 'events.sqlite');
  const told: string[] = [];
  for (let round = 0; round < 15; round++) {
    const child = startChild([path]);
    // A moment that depends on how far it came, from "just opened" to a few hundred appends.
    const moment = Math.floor(Math.random() ** 2 * 400);
    await child.line((_, index) => index >= moment);
    await child.kill();
    told.push(...acknowledged(child.lines));
    const store = await openSqliteStore(path, Date.now);
    const events = await collect(store.readAll());
    await store.close();
    t.deepEqual(faults(events), []);
    const there = new Set(events.map(({ stream, revision }) => `${stream}/${revision}`));
    t.deepEqual(
      told.filter((event) => !there.has(event)),
      [],
      `round ${round}`,
    );
  }
  t.true(told.length > 500, `only ${told.length} events were acknowledged`);
  await rm(directory, { recursive: true });
});

test('a full disk refuses appends, records no half, and appends go on when there is room again', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'memoir-full-'));
  const path = join(directory, 'events.sqlite');
  // No file may grow over 2 MiB: what a write beyond it meets is an error of the system, as on a full disk.
  const child = startChild([path, '4', '20000'], 'ulimit -S -f 2048');
  const refusal = await child.line((line) => line.startsWith('StoreUnavailable'));
  t.regex(refusal, /^StoreUnavailable the event log ".*events\.sqlite" cannot be written: /);
  const full = child.lines.length;
  await child.line((line) => line.startsWith('StoreUnavailable'), full + 10);
  execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited']);
  const room = child.lines.length;
  await child.line((line, i) => line.startsWith('ok') && i > room + 50, room);
  await child.kill();
  const store = await openSqliteStore(path, Date.now);
  const events = await collect(store.readAll());
  t.deepEqual(faults(events), []);
  const there = new Set(events.map(({ stream, revision }) => `${stream}/${revision}`));
  t.deepEqual(
    acknowledged(child.lines).filter((event) => !there.has(event)),
    [],
  );
  await store.close();
  await rm(directory, { recursive: true });
});

test('a log that another process has is refused, and free when that process is gone', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'memoir-lock-'));
  const path = join(directory, 'events.sqlite');
  const child = startChild([path]);
  await child.line((line) => line.startsWith('ok'));
  const error = await t.throwsAsync(openSqliteStore(path, Date.now), { name: 'StoreUnavailable' });
  t.regex(error.message, /the event log ".*events\.sqlite" is in use by another Memoir server/);
  const told = child.lines.length;
  await child.line((line, i) => line.startsWith('ok') && i > told);
  await child.kill();
  const store = await openSqliteStore(path, Date.now);
  await store.append('mine', 'no_stream', numbered(1));
  await store.close();
  await rm(directory, { recursive: true });
});
