import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { systemEdge } from '../../../src/edge.js';
import { openLog, storeUrlOf } from '../../../src/eventstore/open-store.js';
import { collect } from '../../contract/events.js';
import { startDouble } from '../../support/kurrentdb-double/double.js';
import type { Fault } from '../../support/kurrentdb-double/faults.js';
import { judge } from '../../support/linearizability/judge.js';
import { recordHistories } from '../../support/linearizability/record.js';
import { makeProject } from '../../support/project.js';
import { eventsOf } from '../../support/read-model.js';
import { rounds } from '../../support/rounds.js';
import { startTestServer, type TestServer } from '../../support/server.js';
import '../../support/native-client.js';

// Histories of concurrent callers, checked for linearizability and against the log. MEMOIR_ROUNDS=100 for the whole of it.

const times = rounds(1, 50);
const traffic = { computations: 5, callers: 4, calls: 6 };

const project = makeProject();
test.after.always(() => project.repository.dispose());

async function start(t: ExecutionContext, store?: string): Promise<TestServer> {
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { ...(store !== undefined && { store }) },
  });
  t.teardown(async () => {
    // Of a store that is away for a moment a server says so, as it should.
    if (store !== undefined) server.errors.length = 0;
    await server.dispose();
  });
  return server;
}

test('histories on SQLite are linearizable', async (t) => {
  const server = await start(t);
  for (let round = 0; round < times; round++) {
    const own = randomUUID();
    const histories = await recordHistories(() => server.as('ada'), { own, ...traffic });
    judge(t, histories, await eventsOf(server.config), own);
  }
});

test('histories of two servers are linearizable while answers of their store are lost', async (t) => {
  const double = await startDouble();
  t.teardown(() => double.stop());
  const servers = [await start(t, double.url), await start(t, double.url)];
  const fault: Fault = { kind: 'lose_answer' };
  for (let round = 0; round < times; round++) {
    const own = randomUUID();
    for (let i = 0; i < 4; i++) {
      double.faults.inject(
        'append',
        ...Array.from({ length: 9 }, () => undefined),
        i % 3 === 2 ? { kind: 'drop' } : fault,
      );
    }
    const histories = await recordHistories((caller) => (servers[caller % servers.length] as TestServer).as('ada'), {
      own,
      ...traffic,
    });
    const log = await openLog(storeUrlOf(servers[0]?.config ?? { data_dir: '' }), systemEdge);
    judge(t, histories, await collect(log.readAll()), own);
    await log.close();
  }
});
