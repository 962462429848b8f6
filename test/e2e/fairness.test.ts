import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';

const project = makeProject();
const dir = mkdtempSync(join(tmpdir(), 'memoir-fairness-'));
const policy = join(dir, 'policy.toml');
const grant = (to: string, role: string, repository: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${repository}"]\n`;
writeFileSync(
  policy,
  [
    ...['ada', 'bob', 'cleo'].map((name) => grant(name, 'submitter', '**')),
    grant('w', 'worker', '**'),
    grant('root', 'admin', '**'),
    '[[shares]]\nto = ["ada"]\nweight = 2\n',
  ].join('\n'),
);
const path = project.repository.path;
const server = await startTestServer({ repositories: { project: path }, settings: { policy, insecure: true } });
const as = (name: string) => server.as(name);
const [ada, bob, cleo, w, root] = ['ada', 'bob', 'cleo', 'w', 'root'].map(as) as [
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
];
test.after.always(async () => {
  await server.dispose();
  rmSync(dir, { recursive: true });
  project.repository.dispose();
});

let n = 0;
const made = async (who: typeof ada, more: Parameters<typeof request>[1] = {}) =>
  uuidOf(await request(who, { scriptParameters: { n: n++ }, ...more }));
const queued = async () => (await root.jobs.getQueue({})).jobs.map(({ uuid }) => uuid);
const eventsOf = async (who: typeof ada, uuid: string) =>
  (await collect(who.history.readHistory({ uuid }))).map(({ event }) => event?.event);

test.serial('claims are given jobs in turns of their owners, by weight, and the queue tells that order', async (t) => {
  const of: Record<string, string> = {};
  for (const who of [bob, bob, bob, ada, ada, ada, ada]) of[await made(who)] = who.principal;
  const order = await queued();
  t.deepEqual(
    order.map((uuid) => of[uuid]),
    ['ada', 'bob', 'ada', 'ada', 'bob', 'ada', 'bob'],
  );
  const pages = await root.jobs.getQueue({ pageSize: 3 });
  const rest = await root.jobs.getQueue({ pageSize: 4, pageToken: pages.nextPageToken });
  t.deepEqual(
    [...pages.jobs, ...rest.jobs].map(({ uuid }) => uuid),
    order,
  );
  for (const uuid of order) t.is((await w.worker.claimJob({})).job?.uuid, uuid);
});

test.serial(
  'a shared job takes the turn of who waited longest, and whose that is then is not told to who left',
  async (t) => {
    const same = { scriptParameters: { shared: true } };
    const uuid = uuidOf(await find(ada, same));
    const cleos = await made(cleo);
    t.is(uuidOf(await find(cleo, same)), uuid);
    const bobs = [await made(bob), await made(bob)];
    t.is((await queued())[0], uuid);
    await ada.jobs.cancelJob({ uuid });
    const first = (await eventsOf(root, uuid)).find((event) => event?.case === 'jobLeft')?.value;
    t.like(first, { turnOf: 'cleo', turnWeight: 1 });
    const told = (await eventsOf(ada, uuid)).find((event) => event?.case === 'jobLeft')?.value;
    t.like(told, { turnOf: '', principal: 'ada' });
    t.is(told && 'turnWeight' in told ? told.turnWeight : undefined, undefined);
    const requested = (await eventsOf(ada, uuid)).find((event) => event?.case === 'jobRequested')?.value;
    t.like(requested, { turnWeight: 2 });
    const order = await queued();
    t.deepEqual(order, [cleos, bobs[0], uuid, bobs[1]]);
    for (const one of order) t.is((await w.worker.claimJob({})).job?.uuid, one);
  },
);
