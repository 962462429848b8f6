import { makeProject } from '../support/project.js';
import { rounds } from '../support/rounds.js';
import { complete, find, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer } from '../support/server.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

/** Of 100 in the whole of it. */
const times = rounds(3);
const atOnce = 200;

test(`${atOnce} concurrent find_or_creates of the same work make one job, ${times} rounds`, async (t) => {
  t.timeout(600_000);
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const names = ['main', 'refs/heads/main', project.second, project.second.slice(0, 9)];
  for (let round = 0; round < times; round++) {
    const answers = await Promise.all(
      Array.from({ length: atOnce }, (_, i) =>
        find(ada, {
          scriptVersion: names[i % names.length] as string,
          scriptParameters: i % 2 ? { round, x: { a: 1, b: 2 } } : { x: { b: 2, a: 1 }, round },
        }),
      ),
    );
    t.is(new Set(answers.map(uuidOf)).size, 1, `round ${round}`);
    t.is(answers.filter(({ reused }) => !reused).length, 1, `round ${round}`);
    t.is(answers[0]?.job?.runNumber, 1);
  }
  const { size } = await ada.jobs.getQueueSize({ consistencyToken: String(await server.end()) });
  t.is(size, BigInt(times));
});

test('and when the job changes under them, each answer is a job that may be reused', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const first = uuidOf(await find(ada));
  const asked = (async () => {
    const uuids = new Set<string>();
    for (let i = 0; i < 20; i++) {
      for (const answer of await Promise.all(Array.from({ length: 10 }, () => find(ada)))) uuids.add(uuidOf(answer));
    }
    return uuids;
  })();
  await complete(bob, first);
  // Queued, running or complete, it is the same work at every moment.
  t.deepEqual([...(await asked)], [first]);
});

test('cancelled in between, one new job takes the place of the old one', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  for (let round = 0; round < 10; round++) {
    const first = uuidOf(await find(ada));
    const [answers] = await Promise.all([
      Promise.all(Array.from({ length: 40 }, () => find(ada))),
      ada.jobs.cancelJob({ uuid: first }),
    ]);
    const others = new Set(answers.map(uuidOf).filter((uuid) => uuid !== first));
    t.true(others.size <= 1, `round ${round}: ${[...others]}`);
    const now = await find(ada);
    if (others.size === 1) t.true(others.has(uuidOf(now)));
    t.is(now.job?.runNumber, 2 * round + 2);
    await ada.jobs.cancelJob({ uuid: uuidOf(now) });
  }
});
