import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { systemEdge } from '../../../src/edge.js';
import { openLog } from '../../../src/eventstore/open-store.js';
import { collect } from '../../contract/events.js';
import { judge } from '../../support/linearizability/judge.js';
import { type Histories, recordHistories } from '../../support/linearizability/record.js';
import { makeProject } from '../../support/project.js';
import { ownRange, realServer } from '../../support/real-kurrentdb.js';
import { clientsOf, testConfig } from '../../support/server.js';
import { startServerProcess } from '../../support/server-process.js';

// Histories of concurrent callers while the nodes of a real cluster are killed, frozen and cut off, as docs/kurrentdb.md says.

/** How a fault is begun and ended, by commands of a shell that are given the node's name as $1. */
const faults = [
  ['MEMOIR_TEST_KILL', 'MEMOIR_TEST_START'],
  ['MEMOIR_TEST_FREEZE', 'MEMOIR_TEST_THAW'],
  ['MEMOIR_TEST_CUT', 'MEMOIR_TEST_MEND'],
] as const;

const nodes = (process.env.MEMOIR_TEST_NODES ?? '').split(/\s+/).filter((name) => name !== '');
const known = faults.flatMap(([begin, end]) => {
  const commands = [process.env[begin], process.env[end]] as const;
  return commands[0] !== undefined && commands[1] !== undefined ? [[begin, commands[0], commands[1]] as const] : [];
});
const rounds = Number(process.env.MEMOIR_ROUNDS ?? 2);
/** How long a fault lasts and how long there is none after it, in milliseconds. */
const [lasting, after] = [5_000, 5_000];

const wanted = realServer !== undefined && nodes.length > 0 && known.length > 0;
const project = makeProject();
test.after.always(() => project.repository.dispose());

async function shell(command: string, node: string): Promise<void> {
  const child = spawn('sh', ['-c', command, 'sh', node], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${command} ended with ${code} for ${node}`);
}

test('histories are linearizable while nodes are killed, frozen and cut off', async (t) => {
  if (!wanted) {
    t.log(
      'skipped: MEMOIR_TEST_KURRENTDB, MEMOIR_TEST_NODES and a pair of commands such as MEMOIR_TEST_KILL and MEMOIR_TEST_START name a cluster',
    );
    t.pass();
    return;
  }
  const release = await ownRange(t);
  const url = realServer ?? '';
  const configs = [0, 1, 2].map(() =>
    testConfig({ repositories: { project: project.repository.path }, settings: { store: url } }),
  );
  const servers = await Promise.all(configs.map((config) => startServerProcess(config)));
  const ada = servers.map(({ address }) => clientsOf(address, 'ada'));
  t.teardown(async () => {
    for (const clients of ada) clients.close();
    await Promise.all(servers.map((server) => server.kill()));
    for (const { data_dir } of configs) rmSync(data_dir, { recursive: true, force: true });
    release();
  });
  const own = randomUUID();
  const all: Histories[] = [];
  let over = false;
  const traffic = (async () => {
    for (let i = 0; !over; i++) {
      const clients = (caller: number) => ada[caller % ada.length] as (typeof ada)[number];
      // Each time other computations: the text is that of all, with a number behind it.
      all.push(await recordHistories(clients, { own: `${own}-${i}`, computations: 4, callers: 6, calls: 10 }));
    }
  })();
  const injected = (async () => {
    for (let round = 0; round < rounds; round++) {
      for (const [name, begin, end] of known) {
        const node = nodes[(round + known.findIndex(([one]) => one === name)) % nodes.length] as string;
        t.log(`${name} ${node}`);
        await shell(begin, node);
        await delay(lasting);
        await shell(end, node);
        await delay(after);
      }
    }
  })();
  await injected.finally(() => {
    over = true;
  });
  await traffic;
  const log = await openLog(url, systemEdge);
  const events = await collect(log.readAll());
  await log.close();
  judge(t, all.flat(), events, own);
});
