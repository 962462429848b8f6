import { equalShares, type Shares } from '../../src/domain/placement/shares.js';
import { capText, openCaps } from '../../src/jobs/running/caps.js';
import { queueBench } from '../projections/queue-bench.js';
import { test } from '../support/serial.js';

/** Two jobs of ada may run at once, and three of the repository. */
const shares: Shares = {
  ...equalShares,
  ofOwner: (owner) => ({ weight: 1, maxRunning: owner === 'ada' ? 2 : undefined, maxQueued: undefined }),
  maxRunningOf: (repository) => (repository === 'weather' ? 3 : undefined),
};

test('a cap counts what runs and what is being begun here, each once, and tells when there is room again', (t) => {
  const bench = queueBench();
  const taken = new Map<string, { owner: string; repository: string } | undefined>();
  const caps = openCaps({ queue: bench.queries }, shares, true, taken);
  const ada = { owner: 'ada', repository: 'weather' };
  const [one, two, three] = [1, 2, 3].map(() => bench.request({ owner: 'ada' })) as [string, string, string];
  t.true(caps.owner('ada'));
  taken.set(one, ada);
  t.true(caps.owner('ada'));
  bench.start(one);
  // It is counted where it runs, no longer where it is being begun.
  t.true(caps.owner('ada'));
  taken.set(two, ada);
  t.false(caps.owner('ada'));
  t.deepEqual(caps.reached(ada), { of: 'owner', most: 2, running: 2 });
  t.deepEqual(caps.roomAgain(), { owners: [], repositories: [] });
  taken.delete(two);
  t.deepEqual(caps.roomAgain(), { owners: ['ada'], repositories: [] });
  t.deepEqual(caps.roomAgain(), { owners: [], repositories: [] });
  bench.start(two);
  bench.start(bench.request({ owner: 'bob' }));
  t.true(caps.owner('bob'));
  t.deepEqual(caps.reached({ owner: 'bob', repository: 'weather' }), { of: 'repository', most: 3, running: 3 });
  t.false(caps.owner('ada'));
  bench.giveBack(two);
  t.deepEqual(caps.roomAgain(), { owners: ['ada'], repositories: ['weather'] });
  t.truthy(three);
  bench.close();
});

test('where other servers claim too, one job at a time is begun of whoever has a cap', (t) => {
  const bench = queueBench();
  const taken = new Map([[bench.request({ owner: 'ada' }), { owner: 'ada', repository: 'climate' }]]);
  const caps = openCaps({ queue: bench.queries }, shares, false, taken);
  t.false(caps.owner('ada'));
  t.true(caps.owner('bob'));
  const reached = caps.reached({ owner: 'ada', repository: 'climate' });
  t.deepEqual(reached, { of: 'owner', most: 2, running: 1 });
  t.is(reached && capText(reached, true), 'another job of its owner is being begun, and 2 may run at once');
  taken.clear();
  t.deepEqual(caps.roomAgain().owners, ['ada']);
  bench.close();
});
