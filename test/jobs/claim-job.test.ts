import test from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import { StoreUnavailable } from '../../src/eventstore/port.js';
import { serverItself } from '../../src/jobs/caller.js';
import type { JobsContext } from '../../src/jobs/context.js';
import { jobClaims } from '../../src/jobs/running/claim-job.js';

test('a store that fails while a claim gives way to another server fails no more than that', async (t) => {
  let asked = 0;
  const context = {
    edge: systemEdge,
    store: {
      async end() {
        asked++;
        throw new StoreUnavailable('no connection');
      },
    },
    readModel: {
      queue: { places: () => [{ uuid: 'a', priority: 0, position: 1, repository: 'r' }] },
      onQueued: () => () => {},
    },
    streams: {
      async execute() {
        throw new MemoirError('FAILED_PRECONDITION', 'WRONG_STATE', 'another server was first');
      },
    },
  } as unknown as JobsContext;
  const claims = jobClaims(context);
  const wish = { leaseMs: 1_000, waitMs: 0, repositories: [], tokenDigest: 'made', tokenMade: true, workerName: '' };
  for (let i = 1; i <= 2; i++) {
    t.is(await claims.claimNext(serverItself(systemEdge), wish, new AbortController().signal), undefined);
    // An unhandled rejection, which would end the server, fails this file.
    await new Promise((resolve) => setImmediate(resolve));
    t.is(asked, i, 'the job is tried again');
  }
});
