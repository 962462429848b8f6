import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import gossipGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import gossipPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';
import featuresGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_grpc_pb.js';
import type featuresPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_pb.js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import test, { type ExecutionContext } from 'ava';
import { type Double, type DoubleOptions, startDouble } from '../support/kurrentdb-double/double.js';
import { until } from '../support/until.js';
import { listen, readAll, talkTo } from './kurrentdb-calls.js';
import { appendAlone, batch, deleteStream, readStream, type Sent } from './kurrentdb-stream-calls.js';

// What the nodes of the double say of each other, and who may do what at which, against what real ones were seen to answer on the wire.

const event = (): Sent => ({ id: crypto.randomUUID() });
const toLeader = { 'requires-leader': 'true' };
const notReady = { code: status.UNAVAILABLE, details: 'Server Is Not Ready' };
const states = gossipPb.MemberInfo.VNodeState;

async function talking(t: ExecutionContext, options: DoubleOptions = {}) {
  const double = await startDouble({ noiseEvery: 0, ...options });
  t.teardown(() => double.stop());
  return { double, client: talkTo(t, double), ask: askOf(t, double) };
}

/** Asks a node about the cluster, and about what it can do. */
function askOf(t: ExecutionContext, double: Double, node = 0) {
  const { host, port } = double.nodes[node]?.endpoint ?? { host: '', port: 0 };
  const address = `${host}:${port}`;
  const gossip = new gossipGrpc.GossipClient(address, credentials.createInsecure());
  const features = new featuresGrpc.ServerFeaturesClient(address, credentials.createInsecure());
  t.teardown(() => {
    gossip.close();
    features.close();
  });
  const metadata = (authorization?: string) => {
    const headers = new Metadata();
    if (authorization) headers.set('authorization', authorization);
    return headers;
  };
  return {
    members: (authorization?: string) =>
      new Promise<InstanceType<typeof gossipPb.MemberInfo>[]>((resolve, reject) =>
        gossip.read(new sharedPb.Empty(), metadata(authorization), (error, info) =>
          error ? reject(error) : resolve(info.getMembersList()),
        ),
      ),
    features: (authorization?: string) =>
      new Promise<InstanceType<typeof featuresPb.SupportedMethods>>((resolve, reject) =>
        features.getSupportedMethods(new sharedPb.Empty(), metadata(authorization), (error, methods) =>
          error ? reject(error) : resolve(methods),
        ),
      ),
  };
}

type Ask = ReturnType<typeof askOf>;
const statesOf = async ({ members }: Ask) => (await members()).map((member) => member.getState());

/** Whether nothing has come of it after a tenth of a second. */
async function isSilent(work: Promise<unknown>): Promise<boolean> {
  const told = work.then(
    () => false,
    () => false,
  );
  const silence = new Promise<boolean>((resolve) => setTimeout(resolve, 100, true));
  return Promise.race([told, silence]);
}

test('nodes say who is in the cluster with structured ids, times of 100 ns and addresses, and what they can do', async (t) => {
  const { double, ask } = await talking(t, { nodes: 3 });
  const members = await ask.members();
  t.deepEqual(
    members.map((member) => member.getState()),
    [states.LEADER, states.FOLLOWER, states.FOLLOWER],
  );
  for (const [i, member] of members.entries()) {
    t.true(member.getInstanceId()?.hasStructured());
    t.true(BigInt(member.getTimeStamp()) > 10n ** 16n);
    t.true(member.getIsAlive());
    t.is(member.getHttpEndPoint()?.getPort(), double.nodes[i]?.endpoint.port);
  }
  for (const [mode, state] of [
    ['starting', states.INITIALIZING],
    ['joining', states.PREREPLICA],
    ['cloning', states.CLONE],
    ['about to lead', states.PRELEADER],
    ['without others', states.UNKNOWN],
    ['serving', states.FOLLOWER],
  ] as const) {
    double.nodes[1]?.modes.become(mode);
    t.is((await statesOf(ask))[1], state, mode);
  }
  for (const one of [ask, askOf(t, double, 1)]) {
    const answer = await one.features();
    t.is(answer.getEventStoreServerVersion(), '24.10.0-prerelease');
    const methods = answer.getMethodsList().map((method) => [method.getMethodName(), method.getFeaturesList()]);
    t.deepEqual(Object.fromEntries(methods), {
      read: ['position', 'events'],
      append: [],
      batchappend: ['deadline_duration'],
      delete: [],
      tombstone: [],
    });
  }
});

test('a follower says who leads to all that need the leader, and does the rest', async (t) => {
  const { double } = await talking(t, { nodes: 2 });
  const follower = talkTo(t, double, 1);
  for (const call of [
    appendAlone(follower, 'job-a', 'any', [event()], toLeader),
    deleteStream(follower, 'job-a', 'any', false, toLeader),
    deleteStream(follower, 'job-a', 'any', true, toLeader),
    readStream(follower, 'job-a', { headers: toLeader }),
    readAll(follower, { from: 'start', count: 1, headers: toLeader }),
  ]) {
    const error = (await t.throwsAsync(call)) as ServiceError;
    t.like(error, { code: status.NOT_FOUND, details: 'Leader info available' });
    t.deepEqual(error.metadata.get('exception'), ['not-leader']);
    t.deepEqual(error.metadata.get('leader-endpoint-host'), ['127.0.0.1']);
    t.deepEqual(error.metadata.get('leader-endpoint-port'), [String(double.nodes[0]?.endpoint.port)]);
  }
  t.is((await appendAlone(follower, 'job-a', 'any', [event()])).getSuccess()?.getCurrentRevision(), '0');
  t.deepEqual(await readAll(follower, { from: 'start', count: 1 }), [0n]);
});

test('a node that starts refuses, leaves subscriptions without a word, and reads before it leads', async (t) => {
  const { double, client, ask } = await talking(t);
  const { modes } = double.nodes[0] as Double['nodes'][0];
  modes.become('starting');
  const call = batch(client);
  const following = listen(client, 'start');
  const read = () => readAll(client, { from: 'start', count: 1, headers: toLeader });
  const writes = async () => {
    t.like(await t.throwsAsync(appendAlone(client, 'job-a', 'any', [event()], toLeader)), notReady);
    t.like(await t.throwsAsync(deleteStream(client, 'job-a', 'any')), notReady);
    t.like(await call.append('job-a', 'any', [event()]), { code: 0, message: 'Server Is Not Ready' });
  };
  await writes();
  t.like(await t.throwsAsync(read()), notReady);
  t.deepEqual(await statesOf(ask), [states.INITIALIZING]);
  t.true((await ask.features()).getMethodsList().length > 0);
  modes.become('about to lead');
  await writes();
  t.deepEqual(await read(), []);
  t.deepEqual(await statesOf(ask), [states.PRELEADER]);
  t.deepEqual(following.kinds(), []);
  modes.become('serving');
  await until('the confirmation', () => following.kinds().includes('caught up'));
  t.is(following.kinds()[0], 'confirmation');
  t.like(await call.append('job-a', 'any', [event()]), { revision: 0 });
  following.cancel();
  call.cancel();
});

test('a node that ends says so, then says nothing, then takes no connection', async (t) => {
  const { double, ask } = await talking(t, { nodes: 2 });
  const ending = double.nodes[1]?.terminate();
  t.deepEqual(await statesOf(ask), [states.LEADER, states.SHUTTINGDOWN]);
  const own = askOf(t, double, 1);
  t.deepEqual(await statesOf(own), [states.LEADER, states.SHUTTINGDOWN]);
  ending?.hang();
  t.true(await isSilent(own.members()));
  t.true(await isSilent(appendAlone(talkTo(t, double, 1), 'job-a', 'any', [event()])));
  ending?.reset();
  t.like(await t.throwsAsync(askOf(t, double, 1).members()), { code: status.UNAVAILABLE });
});

test('a leader that resigns refuses writes, then leaves them, and names the next one to calls that need it', async (t) => {
  const { double, client, ask } = await talking(t, { nodes: 2 });
  const [free, bound] = [batch(client), batch(client, toLeader)];
  for (const { append } of [free, bound]) t.true('revision' in (await append('job-a', 'any', [event()])));
  const resigning = double.resign();
  t.like(await t.throwsAsync(appendAlone(client, 'job-a', 'any', [event()])), notReady);
  for (const { append } of [free, bound]) t.like(await append('job-a', 'any', [event()]), { code: 0 });
  t.deepEqual(await statesOf(ask), [states.RESIGNINGLEADER, states.FOLLOWER]);
  resigning.hang();
  t.true(await isSilent(appendAlone(client, 'job-a', 'any', [event()])));
  t.true(await isSilent(free.append('job-b', 'any', [event()])));
  resigning.elect(1);
  t.deepEqual(await statesOf(ask), [states.FOLLOWER, states.LEADER]);
  t.like(await free.append('job-a', 'any', [event()]), { revision: 2 });
  await t.throwsAsync(bound.append('job-a', 'any', [event()]));
  t.like(await bound.ended, { code: status.NOT_FOUND, details: 'Leader info available' });
  free.cancel();
});

test('followers name a killed leader as alive for a while, and leave what they would pass on', async (t) => {
  const { double } = await talking(t, { nodes: 3 });
  const [follower, ask] = [talkTo(t, double, 1), askOf(t, double, 1)];
  const { notice } = double.kill(0);
  const [dead] = await ask.members();
  t.deepEqual([dead?.getState(), dead?.getIsAlive()], [states.LEADER, true]);
  const error = await t.throwsAsync(appendAlone(follower, 'job-a', 'any', [event()], toLeader));
  const [port] = (error as ServiceError).metadata.get('leader-endpoint-port');
  t.is(port, String(double.nodes[0]?.endpoint.port));
  t.true(await isSilent(appendAlone(follower, 'job-a', 'any', [event()])));
  notice();
  double.elect(2);
  t.false((await ask.members())[0]?.getIsAlive());
  t.is((await appendAlone(follower, 'job-a', 'any', [event()])).getSuccess()?.getCurrentRevision(), '0');
});

test('a leader without a majority takes what nobody sees, then refuses; the majority brings it to light', async (t) => {
  const { double, client, ask } = await talking(t, { nodes: 3 });
  const { append, cancel } = batch(client);
  t.like(await append('job-a', 'any', [event()]), { revision: 0 });
  const lonely = double.loseMajority();
  const [late, aborted] = [event(), event()];
  t.like(await append('job-a', 0, [late]), { code: status.DEADLINE_EXCEEDED, message: 'Timeout', type: 'Timeout' });
  const timedOut = { code: status.ABORTED, details: 'Operation timed out: Commit phase timeout.' };
  t.like(await t.throwsAsync(appendAlone(client, 'job-b', 'any', [event()])), timedOut);
  lonely.giveUp();
  const canceled = { code: status.ABORTED, details: 'Operation timed out: Request canceled by server' };
  t.like(await t.throwsAsync(appendAlone(client, 'job-c', 'any', [aborted])), canceled);
  t.deepEqual(await readAll(client, { from: 'start', count: 10 }), [0n], 'no read shows it');
  const wrong = (await appendAlone(client, 'job-a', 0, [event()])).getWrongExpectedVersion();
  t.is(wrong?.getCurrentRevision(), '1', 'and yet it counts');
  lonely.notice();
  t.like(await t.throwsAsync(appendAlone(client, 'job-a', 'any', [event()])), notReady);
  t.like(await append('job-a', 'any', [event()]), { code: 0 });
  t.like(await t.throwsAsync(readAll(client, { from: 'start', count: 1, headers: toLeader })), notReady);
  t.deepEqual(await readAll(client, { from: 'start', count: 10 }), [0n]);
  t.is((await statesOf(ask))[0], states.UNKNOWN);
  lonely.regain();
  t.deepEqual(await readAll(client, { from: 'start', count: 10 }), [0n, 1n, 0n, 0n]);
  t.is(double.log.stream('job-c')[0]?.id, aborted.id);
  cancel();
});

test('a user of no group may do what streams allow, which is anything but for an $acl, and not read the whole log', async (t) => {
  const [user, plain] = [
    { name: 'admin', password: 'a' },
    { name: 'plain', password: 'p' },
  ];
  const { double, client, ask } = await talking(t, { user, plain });
  const headerOf = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  const headers = { authorization: headerOf('plain:p') };
  const denied = { code: status.PERMISSION_DENIED, details: 'Access Denied' };
  const setMetadata = (stream: string, data: string) =>
    appendAlone(client, `$$${stream}`, 'any', [{ ...event(), type: '$metadata', data }], headers);
  t.truthy((await appendAlone(client, 'job-open', 'any', [event()], headers)).getSuccess());
  t.deepEqual(await readStream(client, 'job-open', { headers }), { events: [0], last: 0 });
  for (const [stream, acl] of [
    ['job-shut', { $r: ['$admins'], $w: '$admins' }],
    ['job-own', { $r: ['plain'], $w: ['plain'] }],
    ['job-fixed', { $mw: '$admins' }],
  ] as const) {
    t.truthy((await setMetadata(stream, JSON.stringify({ $acl: acl }))).getSuccess(), 'metadata too');
  }
  t.like(await t.throwsAsync(setMetadata('job-fixed', '{}')), denied);
  t.like(await t.throwsAsync(readStream(client, 'job-shut', { headers })), denied);
  t.like(await t.throwsAsync(appendAlone(client, 'job-shut', 'any', [event()], headers)), denied);
  t.like(await t.throwsAsync(readAll(client, { from: 'start', count: 1, headers })), denied);
  const following = listen(client, 'start', headers);
  t.like(await following.ended, denied);
  t.deepEqual(following.kinds(), [], 'before any confirmation');
  const { append, cancel } = batch(client, headers);
  const answers = ['job-open', 'job-shut', 'job-own'].map((stream) => append(stream, 'any', [event()]));
  const [open, shut, own] = await Promise.all(answers);
  t.like(shut, { code: status.PERMISSION_DENIED, message: 'AccessDenied', type: 'AccessDenied' });
  t.like(open, { revision: 1 });
  t.like(own, { revision: 0 });
  t.is(double.log.actual('job-shut'), -1);
  // Who says nothing of himself may ask about the cluster, but append nothing; who lies may not ask.
  const nobody = batch(client);
  t.like(await nobody.append('job-open', 'any', [event()]), { code: status.PERMISSION_DENIED });
  t.like(await nobody.append('job-open', 'any', [event()]), { code: status.PERMISSION_DENIED });
  t.is((await ask.members()).length, 1);
  const lie = headerOf('plain:q');
  for (const call of [ask.members(lie), ask.features(lie), batch(client, { authorization: lie }).ended]) {
    const error = await call.catch((refusal: unknown) => refusal);
    t.like(error as ServiceError, { code: status.UNAUTHENTICATED, details: 'Unauthenticated' });
  }
  nobody.cancel();
  cancel();
});
