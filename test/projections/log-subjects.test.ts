import test from 'ava';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { historyProjections } from '../../projections/all.js';
import { logSubjectQueries } from '../../projections/history/log-subjects.js';
import { uuidOfAnyJobStream } from '../../src/domain/streams.js';
import { collect } from '../contract/events.js';
import { rounds } from '../support/rounds.js';
import { same } from '../support/same.js';
import { anyHistory, happen, type Told } from './history.js';
import { catchUp, openScratch } from './scratch.js';

const others = [
  ['exclusion-project', 'ReinstatedForReuse', '{"principal":"carol"}'],
  ['exclusion-@images', 'ReinstatedForReuse', '{"principal":"carol"}'],
  ['image-project', 'FromTheFuture', '{"principal":"alice"}'],
  ['job-none', 'JobDeleted', '{"principal":"alice"}'],
  ['joblog-6474a05f-fc92-48bb-bbc8-600098820550', 'JobLogAppended', '{"principal":"alice"}'],
  ['exclusion-project', 'ExcludedFromReuse', '{'],
  ['exclusion-project', 'ExcludedFromReuse', '[]'],
] as const;

test('events are found by principal and repository, wherever batches ended', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyHistory, fc.integer({ min: 1, max: 40 }), fc.nat(60), async (steps, batchSize, after) => {
      const scratch = await openScratch();
      try {
        const told: Told = new Map();
        await happen(scratch.store, steps, told);
        for (const [stream, type, metadata] of others) {
          await scratch.store.append(stream, 'any', [
            { id: crypto.randomUUID(), type, data: '{"exclusionId":"x"}', metadata },
          ]);
        }
        const events = await collect(scratch.store.readAll());
        const path = scratch.path('history.sqlite');
        await catchUp(scratch.store, path, { projections: historyProjections, batches: 1, batchSize });
        const rows = await catchUp(scratch.store, path, { projections: historyProjections, batchSize });
        same(t, rows, await catchUp(scratch.store, scratch.path('b.sqlite'), { projections: historyProjections }));
        const db = new Database(path, { readonly: true });
        const { positions, placeAt } = logSubjectQueries(db);
        const repositoryOf = (stream: string) => {
          const uuid = uuidOfAnyJobStream(stream);
          return uuid === undefined ? /^exclusion-(?!@)(.*)$/.exec(stream)?.[1] : told.get(uuid)?.record.job.repository;
        };
        const repositories = new Set([undefined, 'absent', ...events.map(({ stream }) => repositoryOf(stream))]);
        for (const principal of [undefined, 'alice', 'carol', '', 'nobody']) {
          for (const repository of repositories) {
            if (principal === undefined && repository === undefined) continue;
            const last = (events.at(-1)?.position ?? 0) - 2;
            const expected = events.filter(
              ({ position, stream, metadata }) =>
                position > after &&
                position <= last &&
                !stream.startsWith('joblog-') &&
                (principal === undefined || (/"principal":"(.*)"/.exec(metadata)?.[1] ?? '') === principal) &&
                (repository === undefined || repositoryOf(stream) === repository),
            );
            t.deepEqual(
              positions({ principal, repository }, after, last, 1_000),
              expected.map(({ position }) => position),
            );
          }
        }
        for (const { position, stream } of events) {
          const place = placeAt(position);
          const uuid = uuidOfAnyJobStream(stream);
          const job = uuid === undefined ? undefined : told.get(uuid);
          if (stream.startsWith('image-') && !stream.startsWith('exclusion-')) t.is(place, undefined, stream);
          else t.deepEqual(place, { repository: repositoryOf(stream) ?? '', job: job?.position ?? null }, stream);
        }
        t.is(placeAt(10_000), undefined);
        db.close();
      } finally {
        await scratch.close();
      }
    }),
    { numRuns: rounds(8, 25) },
  );
});
