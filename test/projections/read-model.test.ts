import { writeFileSync } from 'node:fs';
import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { JobReusedSchema, JobUpdatedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { openReadModel, type ReadModel } from '../../projections/read-model/read-model.js';
import { jobStream, reuseStream } from '../../src/domain/streams.js';
import { requestOf } from '../domain/commands.js';
import { append } from './history.js';
import { openScratch, type Scratch } from './scratch.js';

const requests = Array.from({ length: 2_500 }, (_, n) => requestOf({ scriptParameters: { n } }));
const request = (n: number) => requests[n] as (typeof requests)[number];
const update = (description: string) => create(JobUpdatedSchema, { description });

async function scene(jobs = 0): Promise<Scratch & { readModel: ReadModel; end(): Promise<void> }> {
  const scratch = await openScratch();
  await Promise.all(requests.slice(0, jobs).map((event) => append(scratch.store, jobStream(event.uuid), event)));
  const readModel = await openReadModel(`sqlite:${scratch.logPath}`, scratch.path('rm.sqlite'));
  const end = async () => {
    await readModel.close();
    await scratch.close();
  };
  return { ...scratch, readModel, end };
}

test('on an empty log it has caught up at once', async (t) => {
  const { readModel, end } = await scene();
  await readModel.caughtUp();
  await readModel.waitFor(0);
  t.like(readModel.progress(), { live: true, position: 0, end: 0, failure: undefined });
  await end();
});

test('what was waited for can be read', async (t) => {
  const { store, readModel, end } = await scene();
  for (let n = 0; n < 200; n++) {
    const position = await append(store, jobStream(request(n).uuid), request(n));
    t.is(position, n + 1);
    await readModel.waitFor(position);
    t.true(readModel.position() >= position);
    t.is(readModel.jobs.get(request(n).uuid)?.position, position);
  }
  await end();
});

test('many wait for different positions, and each is let go', async (t) => {
  const { store, readModel, end } = await scene();
  const waiting = requests.slice(0, 300).map(async (event, n) => {
    await readModel.waitFor(n + 1);
    t.is(readModel.jobs.get((await first(n + 1)).uuid)?.position, n + 1);
    return event;
  });
  const first = async (position: number) => requests[position - 1] ?? t.fail();
  for (const event of requests.slice(0, 300)) await append(store, jobStream(event.uuid), event);
  t.is((await Promise.all(waiting)).length, 300);
  await end();
});

test('a wait ends with its signal, and says how far it came', async (t) => {
  const { store, readModel, end } = await scene();
  const stop = new AbortController();
  const waiting = readModel.waitFor(2, stop.signal);
  await readModel.waitFor(await append(store, jobStream(request(0).uuid), request(0)));
  stop.abort();
  const error = await t.throwsAsync(waiting, {
    name: 'MemoirError',
    message: /is at position 1 and did not come to 2/,
  });
  t.like(error, { code: 'UNAVAILABLE', reason: 'READ_MODEL_UNAVAILABLE' });
  await t.throwsAsync(readModel.waitFor(2, stop.signal), { message: /did not come to 2/ });
  await readModel.waitFor(1, stop.signal);
  await end();
});

test('a listener is called after each change of its stream, and of no other, until it leaves', async (t) => {
  const { store, readModel, end } = await scene(2);
  await readModel.caughtUp();
  const [mine, other] = [jobStream(request(0).uuid), jobStream(request(1).uuid)];
  const seen: string[] = [];
  const leave = readModel.onChange(mine, () => seen.push(readModel.jobs.get(request(0).uuid)?.description ?? ''));
  for (const text of ['a', 'b', 'c']) {
    await readModel.waitFor(await append(store, mine, update(text)));
    await readModel.waitFor(await append(store, other, update(text)));
    await readModel.waitFor(await append(store, reuseStream(request(0).uuid), create(JobReusedSchema, {})));
  }
  t.deepEqual(seen, ['a', 'b', 'c']);
  leave();
  await readModel.waitFor(await append(store, mine, update('d')));
  t.is(seen.length, 3);
  await end();
});

test('a change between looking and listening is not lost to who listens first', async (t) => {
  const { store, readModel, end } = await scene(1);
  await readModel.caughtUp();
  const { uuid } = request(0);
  for (let n = 0; n < 100; n++) {
    let wake = () => {};
    const leave = readModel.onChange(jobStream(uuid), () => wake());
    const appended = append(store, jobStream(uuid), update(`${n}`));
    while (readModel.jobs.get(uuid)?.description !== `${n}`) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    await appended;
    leave();
  }
  t.pass();
  await end();
});

test('a listener may leave, and others come, while listeners are called', async (t) => {
  const { store, readModel, end } = await scene(1);
  await readModel.caughtUp();
  const stream = jobStream(request(0).uuid);
  const calls: string[] = [];
  const again = () => {
    calls.push('again');
    leaves.push(readModel.onChange(stream, again));
    leaves.shift()?.();
  };
  const leaves = [readModel.onChange(stream, again)];
  readModel.onChange(stream, () => calls.push('stays'));
  await readModel.waitFor(await append(store, stream, update('a')));
  await readModel.waitFor(await append(store, stream, update('b')));
  t.deepEqual(calls.sort(), ['again', 'again', 'stays', 'stays']);
  await end();
});

test('only queued jobs wake those who wait for the queue', async (t) => {
  const { store, readModel, end } = await scene(1);
  await readModel.caughtUp();
  let calls = 0;
  const leave = readModel.onQueued(() => {
    calls++;
    t.true(readModel.queue.size() > 1);
  });
  await readModel.waitFor(await append(store, jobStream(request(0).uuid), update('x')));
  t.is(calls, 0);
  await readModel.waitFor(await append(store, jobStream(request(1).uuid), request(1)));
  t.is(calls, 1);
  leave();
  await readModel.waitFor(await append(store, jobStream(request(2).uuid), request(2)));
  t.is(calls, 1);
  await end();
});

test('who listens while the past is applied is told when that is over', async (t) => {
  const { readModel, end } = await scene(2_500);
  t.is(readModel.progress().end, 2_500);
  // The last job of the past is not there yet, or is and then nothing is missed.
  const { uuid } = request(2_499);
  const told = new Promise<string>((resolve) => {
    const resolveIfThere = () => readModel.jobs.get(uuid) && resolve('told');
    readModel.onChange(jobStream(uuid), resolveIfThere);
    if (readModel.progress().live) resolveIfThere();
  });
  const queued = new Promise<string>((resolve) => {
    readModel.onQueued(() => resolve('queued'));
    if (readModel.progress().live) resolve('queued');
  });
  t.deepEqual(await Promise.all([told, queued]), ['told', 'queued']);
  await readModel.caughtUp();
  t.is(readModel.queue.size(), 2_500);
  await end();
});

test('closing does not wait for the past, and ends every wait', async (t) => {
  const { store, readModel, close } = await scene(2_500);
  const waits = [readModel.waitFor(2_501), readModel.waitFor(9_999_999), readModel.caughtUp()];
  const outcomes = Promise.allSettled(waits);
  await readModel.close();
  t.true((await outcomes).every(({ status }, i) => status === 'rejected' || i === 2));
  await t.throwsAsync(readModel.waitFor(10_000_000), { message: /shutting down/ });
  t.is(await store.end(), 2_500);
  await close();
});

test('a file that cannot be opened is a clear error', async (t) => {
  const { logPath, directory, close } = await openScratch();
  const error = await t.throwsAsync(openReadModel(`sqlite:${logPath}`, directory), { name: 'MemoirError' });
  t.like(error, { code: 'UNAVAILABLE' });
  t.true(error?.message.includes(directory), error?.message);
  await close();
});

test('a damaged file is made anew', async (t) => {
  const scratch = await scene(50);
  await scratch.readModel.caughtUp();
  await scratch.readModel.close();
  writeFileSync(scratch.path('rm.sqlite'), 'x'.repeat(20_000));
  const readModel = await openReadModel(`sqlite:${scratch.logPath}`, scratch.path('rm.sqlite'));
  await readModel.caughtUp();
  t.is(readModel.queue.size(), 50);
  await readModel.close();
  await scratch.close();
});
