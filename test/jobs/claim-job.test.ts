import test from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { shapeKey } from '../../src/domain/placement/shape.js';
import { equalShares } from '../../src/domain/placement/shares.js';
import { systemEdge } from '../../src/edge.js';
import { StoreUnavailable } from '../../src/eventstore/port.js';
import { serverItself } from '../../src/jobs/caller.js';
import type { JobsContext } from '../../src/jobs/context.js';
import { jobClaims } from '../../src/jobs/running/claim-job.js';

test('a store that fails while a claim gives way to another server fails no more than that', async (t) => {
  let asked = 0;
  const requirements = { repository: 'r', image: false, cores: 0, ramMb: 0, scratchMb: 0, labels: {} };
  const place = { ...requirements, uuid: 'a', owner: 'o', priority: 0, turn: 0, position: 1, shape: 1 };
  const context = {
    edge: systemEdge,
    store: {
      async end() {
        asked++;
        throw new StoreUnavailable('no connection');
      },
    },
    readModel: {
      queue: {
        shapeCount: () => 1,
        shapesAfter: (id: number) => (id < 1 ? [{ id: 1, key: shapeKey(requirements) }] : []),
        begins: () => [place],
        heads: (_: number, cursor: unknown) => (cursor ? [] : [place]),
        placesOf: () => [],
        placeOfJob: () => place,
      },
      onQueued: () => () => {},
      onEnded: () => {},
      onRemade: () => {},
      onChange: () => () => {},
      workers: { pauses: () => [] },
    },
    shares: equalShares,
    reservations: { onEnded: () => {}, jobOf: () => undefined },
    preferOthersMs: 0,
    written: { hasAllOf: () => true },
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
    // Where the log ends is asked for the job that another has, and before it is said that there is none.
    t.is(asked, 2 * i, 'the job is tried again');
  }
});
