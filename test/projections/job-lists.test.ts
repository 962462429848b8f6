import test from 'ava';
import type { ValuesQuery } from '../../projections/lists/distinct-values.js';
import { FileTrouble, Overdue } from '../../projections/lists/list-failures.js';
import { openListLane } from '../../projections/lists/list-lane.js';
import { jobStream } from '../../src/domain/streams.js';
import { requestOf } from '../domain/commands.js';
import { append } from './history.js';
import { catchUp, openScratch } from './scratch.js';

// A lane for lists with its real thread.

const query: ValuesQuery = { field: 'repository', parametersDigest: undefined };

test('what a thread for lists fails of comes out as what it was, and the next question has a thread again', async (t) => {
  const scratch = await openScratch();
  const path = scratch.path('read-model.sqlite');
  const files = { readModel: path, history: scratch.path('history.sqlite') };
  const lane = openListLane(files, { time: 5_000, waiting: 8, waitingOfOne: 8 });
  t.teardown(async () => {
    await lane.close();
    await scratch.close();
  });
  const values = () => lane.ask((call, turn) => call.values({ ...turn, query }), 'ada');

  const trouble = await t.throwsAsync(values(), { instanceOf: FileTrouble });
  t.like(trouble.cause as Error, { name: 'SqliteError', code: 'SQLITE_CANTOPEN' });
  const requested = requestOf({ repository: 'project' });
  await append(scratch.store, jobStream(requested.uuid), requested);
  await catchUp(scratch.store, path);
  const found = { values: ['project'], position: 1 };
  t.deepEqual(await values(), found);

  // Nor is what is wrong with a question laid on a file.
  await t.throwsAsync(
    lane.ask((call, turn) => call.list({ ...turn, query: {} as never }), 'ada'),
    { instanceOf: TypeError },
  );
  await t.throwsAsync(
    lane.ask((call, { id }) => call.values({ id, limit: -1, query }), 'ada'),
    { instanceOf: Overdue },
  );
  t.deepEqual(await values(), found);

  const interrupted = values();
  lane.renew();
  await t.throwsAsync(interrupted, { instanceOf: FileTrouble, message: 'it was made anew meanwhile' });
  t.deepEqual(await values(), found);
  const last = values();
  await Promise.all([t.throwsAsync(last, { message: 'the lists are closed' }), lane.close()]);
});
