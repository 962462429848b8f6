import test from 'ava';
import { systemEdge } from '../../src/edge.js';
import { openKurrentStore } from '../../src/eventstore/kurrentdb/store.js';
import { parseKurrentUrl } from '../../src/eventstore/kurrentdb/url.js';
import { StoreUnavailable, StoreUnreachable } from '../../src/eventstore/port.js';
import { collect, newEvent } from '../contract/events.js';
import { makeAuthority } from '../support/certificates.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { until } from '../support/until.js';
import { follower, openOnDouble, quick } from './kurrentdb-double.js';

const authority = makeAuthority();
const { caFile } = authority;
const tls = authority.certify('IP:127.0.0.1');
test.after.always(() => authority.dispose());

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Looks for a leader twice, then gives up, so that a cluster without one is noticed soon. */
const impatient = '&maxDiscoverAttempts=2&discoveryInterval=20';

test('changes of the leader are followed, and no append is lost or doubled', async (t) => {
  const { double, store } = await openOnDouble(t, { nodes: 3 });
  const following = follower(store);
  const appended: string[] = [];
  for (let round = 0; round < 6; round++) {
    double.elect((round + 1) % 3);
    await Promise.all(
      upTo(20).map(async (i) => {
        const event = newEvent(round * 20 + i);
        await store.append(`joblog-${i % 4}`, 'any', [event]);
        appended.push(event.id);
      }),
    );
    t.is((await collect(store.readAll())).length, appended.length);
  }
  await following.until(120);
  await following.end();
  t.deepEqual(following.events.map(({ id }) => id).sort(), appended.sort());
});

test('a leader that dies is replaced by the next', async (t) => {
  const { double, store } = await openOnDouble(t, { nodes: 3, query: impatient });
  const following = follower(store);
  for (const next of [1, 2, 0]) {
    await store.append('job-a', 'any', [newEvent(1)]);
    const dead = double.nodes[(next + 2) % 3];
    dead?.refuse(true);
    dead?.dropConnections();
    double.elect(next);
    await store.append('job-a', 'any', [newEvent(2)]);
    dead?.refuse(false);
  }
  await following.until(6);
  await following.end();
  t.is((await collect(store.readStream('job-a'))).length, 6);
});

test('a leader that ends in good order, slowly, is replaced by the next', async (t) => {
  const { double, store } = await openOnDouble(t, { nodes: 3, query: impatient, timings: { answerTimeout: 1_000 } });
  const following = follower(store);
  await store.append('job-a', 'no_stream', [newEvent(1)]);
  await following.until(1);
  const ending = double.nodes[0]?.terminate();
  double.elect(1);
  t.is((await store.append('job-a', 0, [newEvent(2)])).revision, 1);
  ending?.hang();
  ending?.reset();
  await following.until(2);
  await following.end();
});

test('a leader that resigns refuses appends and then leaves them; each is recorded once, by the next leader', async (t) => {
  const timings = { answerTimeout: 700 };
  const { double, store, troubles } = await openOnDouble(t, { nodes: 3, query: impatient, timings });
  await store.append('job-a', 'any', [newEvent(0)]);
  const resigning = double.resign();
  const appends = upTo(10).map((i) => store.append(`joblog-${i}`, 'no_stream', [newEvent(i)]));
  await until('a refusal', () => troubles.some((message) => /it says "Server Is Not Ready"$/.test(message)));
  resigning.hang();
  await until('silence', () => troubles.some((message) => /no answer within 700 ms/.test(message)));
  resigning.elect(1);
  t.deepEqual(
    (await Promise.all(appends)).map(({ revision }) => revision),
    upTo(10).map(() => 0),
  );
  t.is((await collect(store.readAll())).length, 11);
});

test('what a leader took without a majority is recorded once when it has one again', async (t) => {
  const { double, store, troubles } = await openOnDouble(t, { nodes: 3, query: impatient });
  const following = follower(store);
  await store.append('job-a', 'no_stream', [newEvent(0)]);
  await following.until(1);
  const lonely = double.loseMajority();
  const appends = [store.append('job-a', 0, [newEvent(1)]), store.append('joblog-a', 'any', [newEvent(2)])];
  await until('trouble', () => troubles.some((message) => /cannot append/.test(message)));
  lonely.notice();
  lonely.regain();
  t.deepEqual(
    (await Promise.all(appends)).map(({ revision }) => revision),
    [1, 0],
  );
  await following.until(3);
  await following.end();
  t.is((await collect(store.readAll())).length, 3);
});

test('a node that starts anew is waited for, while it refuses and while it does not lead yet', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  const following = follower(store);
  await store.append('job-a', 'no_stream', [newEvent(0)]);
  await following.until(1);
  double.nodes[0]?.modes.become('starting');
  double.dropConnections();
  const append = store.append('job-a', 0, [newEvent(1)]);
  const said = (what: string) => until(what, () => troubles.some((message) => message.includes(what)));
  await said('cannot append');
  await said('cannot follow');
  double.nodes[0]?.modes.become('about to lead');
  t.is((await collect(store.readStream('job-a'))).length, 1);
  double.nodes[0]?.modes.become('serving');
  t.is((await append).revision, 1);
  await following.until(2);
  await following.end();
});

test('a cluster that is away for a while costs nothing but time', async (t) => {
  const { double, store } = await openOnDouble(t, { nodes: 3, query: impatient });
  const following = follower(store);
  await store.append('job-a', 'any', [newEvent(0)]);
  double.refuse(true);
  double.dropConnections();
  const appends = upTo(60).map((i) => store.append(`joblog-${i % 7}`, 'any', [newEvent(i)]));
  const settled = Promise.all(appends);
  settled.catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  double.refuse(false);
  t.is((await settled).length, 60);
  await following.until(61);
  await following.end();
  t.is((await collect(store.readAll())).length, 61);
});

test('calls are encrypted and carry the credentials', async (t) => {
  const user = { name: 'memoir', password: 'a:b@c/d%e' };
  const double = await startDouble({ nodes: 2, tls, user });
  t.teardown(() => double.stop());
  const url = `${double.url}&tlsCAFile=${encodeURIComponent(caFile)}`;
  const store = await openKurrentStore(parseKurrentUrl(url), { edge: systemEdge, timings: quick });
  const following = follower(store);
  const { position } = await store.append('job-a', 'no_stream', [newEvent(7)]);
  await following.until(1);
  await following.end();
  t.is((await store.eventAt(position))?.data, '7');
  await store.close();
});

test('credentials that are refused, or a certificate that is unknown, are a clear error without the credentials', async (t) => {
  const user = { name: 'memoir', password: 'right-secret' };
  const double = await startDouble({ tls, user });
  t.teardown(() => double.stop());
  const wrong = double.url.replace('right-secret', 'wrong-secret');
  const troubles: string[] = [];
  const open = (url: string) =>
    openKurrentStore(parseKurrentUrl(url), {
      edge: systemEdge,
      timings: { ...quick, patience: 10_000 },
      onTrouble: (message) => troubles.push(message),
    });
  const denied = await t.throwsAsync(open(`${wrong}&tlsCAFile=${encodeURIComponent(caFile)}`), {
    instanceOf: StoreUnavailable,
  });
  t.regex(
    denied.message,
    /^KurrentDB at 127\.0\.0\.1:\d+ cannot (be used|read the end of the log): it refuses the credentials/,
  );
  t.false(denied instanceof StoreUnreachable);
  const cluster = await startDouble({ nodes: 3, tls, user });
  t.teardown(() => cluster.stop());
  const begun = performance.now();
  const everywhere = cluster.url.replace('right-secret', 'wrong-secret');
  await t.throwsAsync(open(`${everywhere}&tlsCAFile=${encodeURIComponent(caFile)}`), {
    message: /it refuses the credentials/,
  });
  t.true(performance.now() - begun < 15_000, 'well below the patience of a server');
  await t.throwsAsync(open('kurrentdb://127.0.0.1:1?tls=false'), { instanceOf: StoreUnreachable });
  const unknown = await t.throwsAsync(open(double.url), { instanceOf: StoreUnavailable });
  t.regex(unknown.message, /^KurrentDB at 127\.0\.0\.1:\d+ cannot /);
  for (const { message, stack, cause } of [denied, unknown]) {
    t.notRegex(`${message} ${stack} ${String(cause)} ${JSON.stringify(cause)} ${troubles}`, /-secret/);
  }
});

for (const nodes of [1, 3]) {
  for (const discover of [false, true]) {
    test(`credentials of any characters are taken by ${nodes} nodes${discover ? ', discovered' : ''}`, async (t) => {
      const user = { name: 'a%b@c/ü', password: 'p@s:s/w%rd ö' };
      const double = await startDouble({ nodes, tls, user });
      t.teardown(() => double.stop());
      const [first] = double.nodes;
      const who = `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}`;
      const discovered = `kurrentdb+discover://${who}@127.0.0.1:${first?.endpoint.port}?tls=true`;
      const url = `${discover ? discovered : double.url}&tlsCAFile=${encodeURIComponent(caFile)}`;
      const store = await openKurrentStore(parseKurrentUrl(url), { edge: systemEdge, timings: quick });
      t.teardown(() => store.close());
      const following = follower(store);
      await store.append('joblog-a', 'any', [newEvent(1)]);
      t.is((await collect(store.readStream('joblog-a'))).length, 1);
      await following.until(1);
      await following.end();
    });
  }
}
