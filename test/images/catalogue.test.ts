import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { openReadModel } from '../../projections/read-model/read-model.js';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { openImageParts } from '../../src/images/open.js';
import { serverItself } from '../../src/jobs/caller.js';
import { ownWrites } from '../../src/jobs/own-writes.js';

// Two servers on one store: each with a read model, locks and memory of its own.

const hash = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
const caller = serverItself(systemEdge);

async function twoServers(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-images-'));
  const url = sqliteUrl(join(directory, 'events.sqlite'));
  const store = { ...(await openStore(url, systemEdge)), exclusive: false };
  const closers = [() => store.close()];
  t.teardown(async () => {
    for (const close of closers.reverse()) await close();
    rmSync(directory, { recursive: true });
  });
  const servers = [];
  for (const serverVersion of ['one', 'two']) {
    const readModel = await openReadModel(url, join(directory, serverVersion));
    closers.push(() => readModel.close());
    await readModel.caughtUp();
    const context = { store, readModel, written: ownWrites(readModel), edge: systemEdge, serverVersion };
    servers.push({ ...openImageParts(context, { registries: {} }, pino({ level: 'silent' })), readModel });
  }
  const [one, two] = servers;
  if (!one || !two) throw new Error('there are not two servers');
  return { store, one, two };
}

test('a locator that two servers register in two repositories at once goes to one of them', async (t) => {
  const { store, one, two } = await twoServers(t);
  for (let i = 0; i < 30; i++) {
    const image = { hash: hash(i), tag: 'v1', locator: `keep:${i}` };
    const answers = await Promise.allSettled([
      one.catalogue.register(caller, { ...image, repository: 'left' }),
      two.catalogue.register(caller, { ...image, repository: 'right' }),
    ]);
    const lost = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
    t.is(lost.length, 1);
    t.true(lost[0] instanceof MemoirError && lost[0].reason === 'LOCATOR_TAKEN', String(lost[0]));
    const end = await store.end();
    const owners = [];
    for (const { readModel } of [one, two]) {
      await readModel.waitFor(end);
      owners.push(readModel.images.byLocator(image.locator).map(({ repository }) => repository));
    }
    const winner = answers[0]?.status === 'fulfilled' ? 'left' : 'right';
    t.deepEqual(owners, [[winner], [winner]]);
    // Who lost is told so again, although its stream holds what it appended.
    const loser = winner === 'left' ? 'right' : 'left';
    await t.throwsAsync(two.catalogue.register(caller, { ...image, repository: loser }), {
      message: /is registered with/,
    });
  }
});

test('what two servers register in one repository at once is all there, each once', async (t) => {
  const { store, one, two } = await twoServers(t);
  const images = Array.from({ length: 40 }, (_, i) => ({
    hash: hash(i % 20),
    repository: 'app',
    tag: `v${i % 20}`,
    locator: `app@${hash(i % 20)}`,
  }));
  await Promise.all(images.map((image, i) => (i % 2 ? one : two).catalogue.register(caller, image)));
  await two.readModel.waitFor(await store.end());
  const list = { repository: 'app', includeForgotten: true, before: Number.MAX_SAFE_INTEGER, limit: 1_000 };
  t.is(two.readModel.images.page(list).length, 20);
  let events = 0;
  for await (const _ of store.readStream('image-app')) events++;
  t.is(events, 20);
  await one.catalogue.forget(caller, `app@${hash(3)}`, '');
  t.is(await two.catalogue.forget(caller, `app@${hash(3)}`, ''), await store.end(), 'another server sees it');
});

test('searches see old and forgotten images, and what was registered a moment ago', async (t) => {
  const { one } = await twoServers(t);
  const register = (n: number, tag: string) =>
    one.catalogue.register(caller, { hash: hash(n), repository: 'app', tag, locator: `app@${hash(n)}` });
  t.deepEqual(await one.images.locators('app'), new Set());
  await register(1, 'v1');
  await register(2, 'v1');
  await register(3, 'v2');
  await one.catalogue.forget(caller, `app@${hash(2)}`, '');
  const cases: [search: string, images: number[]][] = [
    ['app', [1, 2, 3]],
    ['app:v1', [1, 2]],
    [hash(2), [2]],
    [`app@${hash(1)}`, [1]],
    ['app:v3', []],
    ['ap', []],
    ['', []],
    ['%', []],
    ["app' OR 1=1 --", []],
  ];
  for (const [search, images] of cases) {
    t.deepEqual(
      [...(await one.images.locators(search))].sort(),
      images.map((n) => `app@${hash(n)}`),
      search,
    );
  }
  t.is(await one.images.resolve('app', 'v1', 'f'), `app@${hash(1)}`);
  t.is(one.images.unrecorded.unrecorded, one.images.unrecorded);
});
