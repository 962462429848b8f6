import { connect as connectHttp2 } from 'node:http2';
import { join } from 'node:path';
import { create, type DescMessage, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import {
  CreateJobsResponseSchema,
  type GetJobResponse,
  GetJobResponseSchema,
  type ListJobsResponse,
  ListJobsResponseSchema,
} from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { encodeEvent } from '../../src/eventstore/codec.js';
import { metadataJson } from '../../src/eventstore/port.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import type { CallError } from '../../src/rpc/call-error.js';
import { collect } from '../contract/events.js';
import { framed } from '../support/http2-call.js';
import { makeProject } from '../support/project.js';
import { doubleField, field, rawCall } from '../support/raw-call.js';
import { failure, refused } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { memoirServices } from '../support/services.js';

const project = makeProject();
const server = serverOfFile({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const bob = server.as('bob');
const createJob = '/memoir.jobs.v1.JobsService/CreateJob';

test.after.always(() => {
  project.repository.dispose();
});

/** A CreateJobRequest on the wire, with what is given behind its required fields. */
const onWire = (...fields: Buffer[]) =>
  Buffer.concat([field(1, 'project'), field(2, 'run.sh'), field(3, 'main'), ...fields]);
/** A member of a Struct on the wire. */
const member = (name: string, value: Buffer) => field(1, Buffer.concat([field(1, name), field(2, value)]));
const parameters = (...members: Buffer[]) => field(4, Buffer.concat(members));

test.serial('parameters may be as deep as all clients can read, and no depth harms the server', async (t) => {
  const objects = (levels: number) => {
    let value: object = {};
    for (let i = 0; i < levels; i++) value = { a: value };
    return value as { [name: string]: string };
  };
  const deepest = objects(32);
  const made = await request(ada, { scriptParameters: deepest });
  const uuid = uuidOf(made);
  const { job } = await ada.jobs.getJob({ uuid, consistencyToken: made.consistencyToken });
  t.deepEqual(job?.scriptParameters, deepest);
  t.is((await collect(ada.history.readHistory({ uuid }))).length, 1);
  const claimed = await bob.worker.claimJob({ uuid });
  t.deepEqual(claimed.job?.scriptParameters, deepest);
  await refused(t, server, () => request(ada, { scriptParameters: objects(33) }), {
    code: 'INVALID_ARGUMENT',
    reason: 'NESTED_TOO_DEEP',
    field: 'script_parameters',
    naming: '"/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"',
  });
  await refused(t, server, () => request(ada, { unhashedParameters: objects(33) }), {
    code: 'INVALID_ARGUMENT',
    reason: 'NESTED_TOO_DEEP',
    field: 'unhashed_parameters',
  });
  for (const levels of [400, 4_000]) {
    let value = field(3, 'x');
    for (let i = 0; i < levels; i++) value = field(5, member('a', value));
    const error = await failure(t, () => rawCall(server.address(), createJob, onWire(parameters(member('a', value)))));
    t.is(error.code, 3, error.message);
  }
});

test.serial('a Value without a value is refused, naming its place', async (t) => {
  const list = (...items: Buffer[]) => field(6, Buffer.concat(items.map((item) => field(1, item))));
  const unset = Buffer.alloc(0);
  const unknown = field(99, 'x');
  const cases: [value: Buffer, place: string][] = [
    [unset, '"/a~1b"'],
    [unknown, '"/a~1b"'],
    [list(field(3, 'x'), unset), '"/a~1b/1"'],
    [field(5, Buffer.concat([member('in', list(unset))])), '"/a~1b/in/0"'],
  ];
  for (const [value, place] of cases) {
    const call = () => rawCall(server.address(), createJob, onWire(parameters(member('a/b', value))));
    const wanted = {
      code: 'INVALID_ARGUMENT',
      reason: 'UNSET_VALUE',
      field: 'script_parameters',
      naming: place,
    } as const;
    await refused(t, server, call, wanted);
    const explain = () =>
      rawCall(
        server.address(),
        '/memoir.jobs.v1.JobsService/ExplainReuse',
        field(1, onWire(parameters(member('a/b', value)))),
      );
    await refused(t, server, explain, { ...wanted, field: 'request.script_parameters' });
  }
  const noValue = field(4, field(1, field(1, 'a')));
  t.is((await failure(t, () => rawCall(server.address(), createJob, onWire(noValue)))).reason, 'UNSET_VALUE');
  // Of many requests it is the error of the one that has it.
  const many = await rawCall(
    server.address(),
    '/memoir.jobs.v1.JobsService/CreateJobs',
    Buffer.concat([field(3, 'x'), unset].map((value) => field(1, onWire(parameters(member('many', value)))))),
  );
  const { results } = fromBinary(CreateJobsResponseSchema, many);
  t.deepEqual(
    results.map(({ job, error }) => [job !== undefined, error?.reason, error?.field]),
    [
      [true, undefined, undefined],
      [false, 'UNSET_VALUE', 'script_parameters'],
    ],
  );
  const isNull = Buffer.from([8, 0]);
  t.truthy(
    await rawCall(server.address(), createJob, onWire(parameters(member('a', isNull), member('b', list(isNull))))),
  );
});

test.serial('-0 is 0 in every answer', async (t) => {
  const made = await request(ada, { scriptParameters: { a: -0, b: [-0] } });
  const { uuid } = made.job ?? { uuid: '' };
  const { job } = await ada.jobs.getJob({ uuid, consistencyToken: made.consistencyToken });
  for (const parameters of [made.job?.scriptParameters, job?.scriptParameters]) {
    t.true(Object.is(parameters?.a, 0), `${JSON.stringify(parameters)}`);
    t.true(Object.is((parameters?.b as unknown[] | undefined)?.[0], 0));
  }
});

/** Fields of a type in a request and in the messages within it, as the numbers that lead there. */
function fieldsOf(message: DescMessage, typeName: string, within: readonly DescMessage[] = []): number[][] {
  if (within.includes(message)) return [];
  return message.fields.flatMap((one) => {
    const inner =
      one.fieldKind === 'message' || (one.fieldKind === 'list' && one.listKind === 'message') ? one.message : undefined;
    if (!inner) return [];
    if (inner.typeName === typeName) return [[one.number]];
    return fieldsOf(inner, typeName, [...within, message]).map((path) => [one.number, ...path]);
  });
}

test.serial('durations and times that are none, or beyond all bounds, are never an internal error', async (t) => {
  const uuid = uuidOf(await request(ada, { scriptParameters: { durations: true } }));
  /** A message of seconds and nanoseconds. */
  const time = (seconds: bigint, nanos: number) =>
    Buffer.from(toBinary(DurationSchema, create(DurationSchema, { seconds, nanos })));
  const wrong = [
    time(1n, 1_000_000_000),
    time(0n, 2_147_483_647),
    time(1n, -1),
    time(-1n, 1),
    time(0n, -2_000_000_000),
  ];
  const extreme = [
    time(2n ** 63n - 1n, 0),
    time(-(2n ** 63n), 0),
    time(315_576_000_001n, 0),
    time(315_576_000_000n, 999_999_999),
  ];
  let tried = 0;
  for (const service of memoirServices) {
    for (const method of service.methods) {
      if (method.methodKind === 'client_streaming') continue;
      for (const type of ['google.protobuf.Duration', 'google.protobuf.Timestamp']) {
        for (const path of fieldsOf(method.input, type)) {
          for (const value of [...wrong, ...extreme]) {
            // What else the method needs stands before it; what it does not know is passed over.
            let bytes: Buffer = value;
            for (const number of [...path].reverse()) bytes = field(number, bytes);
            const needed =
              method.name === 'CreateJob'
                ? Buffer.concat([onWire(), field(10, `s${tried}`)])
                : field(1, method.name === 'ExplainReuse' ? onWire() : uuid);
            const error = await rawCall(
              server.address(),
              `/${service.typeName}/${method.name}`,
              Buffer.concat([needed, bytes]),
            ).then(
              () => undefined,
              (thrown: CallError) => thrown,
            );
            tried++;
            t.true(
              error === undefined ||
                error.code === 3 ||
                error.code === 9 ||
                error.code === 5 ||
                /No message received/.test(error.message),
              `${method.name} ${path}: ${error?.code} ${error?.message}`,
            );
            if (type.endsWith('Duration') && wrong.includes(value)) t.is(error?.code, 3, `${method.name} ${path}`);
          }
        }
      }
    }
  }
  t.true(tried > 100, `${tried}`);
  for (const seconds of [94_672_800_000n, 315_576_000_000n]) {
    const made = await find(ada, {
      scriptParameters: { age: String(seconds) },
      maxHeartbeatAge: { seconds },
      submitId: `a${seconds}`,
    });
    t.false(made.reused);
  }
});

test.serial(
  'a job of an old log that others cannot read comes without its parameters, and no worker is given it',
  async (t) => {
    const other = await startTestServer({ repositories: { project: project.repository.path } });
    t.teardown(() => other.dispose());
    const first = uuidOf(await request(other.as('ada'), { scriptParameters: { flat: 1 } }));
    const log = await collect(other.as('ada').history.readHistory({ uuid: first }));
    const event = log[0]?.event?.event;
    if (event?.case !== 'jobRequested') return t.fail();
    await other.stop();
    let scriptParameters: JsonObject = {};
    for (let i = 0; i < 40; i++) scriptParameters = { a: scriptParameters };
    const uuid = '00000000-0000-4000-8000-000000000001';
    const store = await openSqliteStore(join(other.config.data_dir, 'events.sqlite'), Date.now);
    const requested = { ...event.value, uuid, scriptParameters, priority: 9, computationDigest: '0'.repeat(64) };
    const metadata = metadataJson({ principal: 'ada', requestId: 'r', serverVersion: '0' });
    await store.append(`job-${uuid}`, 'no_stream', [
      encodeEvent('00000000-0000-4000-8000-000000000002', requested, metadata),
    ]);
    await store.close();
    await other.restart();
    /** Calls as a client that stops at 100 nested messages. */
    const narrow = async (path: string, schema: DescMessage, bytes: Buffer) =>
      fromBinary(schema, await rawCall(other.address(), path, bytes), { recursionLimit: 100 });
    const jobs = '/memoir.jobs.v1.JobsService';
    const got = (await narrow(`${jobs}/GetJob`, GetJobResponseSchema, field(1, uuid))) as GetJobResponse;
    t.like(got.job, { uuid, scriptParametersOmitted: true, scriptParameters: undefined });
    const listed = (await narrow(`${jobs}/ListJobs`, ListJobsResponseSchema, Buffer.alloc(0))) as ListJobsResponse;
    t.deepEqual(
      listed.jobs.map((job) => [job.uuid, job.scriptParametersOmitted]),
      [
        [uuid, true],
        [first, false],
      ],
    );
    const [recorded] = await collect(other.as('ada').history.readHistory({ uuid }));
    t.true(recorded?.event?.scriptParametersOmitted);
    const subscribed = other
      .as('ada')
      .history.subscribeEvents({ start: { case: 'beginning', value: {} }, jobUuids: [uuid] });
    const { value } = await subscribed.next();
    t.true(value?.content.case === 'event' && value.content.value.scriptParametersOmitted);
    await subscribed.return?.();
    const { job } = await other.as('bob').worker.claimJob({});
    t.is(job?.uuid, first, 'although the other is before it in the queue');
    await refused(t, other, () => other.as('bob').worker.claimJob({ uuid }), {
      code: 'FAILED_PRECONDITION',
      reason: 'PARAMETERS_TOO_DEEP',
      naming: uuid,
    });
    t.true((await other.as('ada').jobs.cancelJob({ uuid })).job?.scriptParametersOmitted);
  },
);

test.serial('a proof fits into what clients accept, whatever the event holds', async (t) => {
  const made = await request(ada, { scriptParameters: { text: '\u0001'.repeat(1_500_000) } });
  const { uuid } = made.job ?? { uuid: '' };
  const streamEvent = { stream: `job-${uuid}`, revision: 0 };
  const proof = await ada.audit.getInclusionProof({ event: { case: 'streamEvent', value: streamEvent } });
  t.is(proof.leafText, '');
  t.is(proof.leafHash.length, 32);
  const small = uuidOf(await request(ada, { scriptParameters: { small: true } }));
  const told = await ada.audit.getInclusionProof({
    event: { case: 'streamEvent', value: { stream: `job-${small}`, revision: 0 } },
  });
  t.true(told.leafText.includes('"small":true'));
});

test.serial('a call that nobody waits for any more is not begun, and those beside it are', async (t) => {
  const before = await server.end();
  const create = (i: number, timeoutMs?: number) =>
    ada.jobs
      .createJob(
        { repository: 'project', script: 'run.sh', scriptVersion: 'main', scriptParameters: { late: i } },
        timeoutMs === undefined ? {} : { timeoutMs },
      )
      .then(
        () => 'answered',
        (error: CallError) => status[error.code],
      );
  // Two of three have a deadline that passes somewhere on the way.
  const calls = Array.from({ length: 90 }, (_, i) => create(i, i % 3 === 0 ? undefined : i % 12));
  const ends = await Promise.all(calls);
  // Everything that was begun before has ended when a later call is answered.
  await request(ada, { scriptParameters: { after: true } });
  const recorded = (await server.end()) - before - 1;
  const answered = ends.filter((end) => end === 'answered').length;
  t.deepEqual(
    ends.filter((end, i) => i % 3 === 0 && end !== 'answered'),
    [],
    'who has time is answered',
  );
  t.true(
    ends.every((end) => end === 'answered' || end === 'DEADLINE_EXCEEDED' || end === 'CANCELLED'),
    ends.join(),
  );
  t.log(`${recorded} recorded, ${answered} answered of ${ends.length}`);
  t.true(
    answered >= 30 && recorded >= answered && recorded < ends.length,
    `${recorded} recorded, ${answered} answered`,
  );
});

test.serial('of calls that wait in a busy server, those whose deadline passes are not begun', async (t) => {
  const session = connectHttp2(`http://${server.address()}`);
  t.teardown(() => session.destroy());
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  const open = (timeout?: string) => {
    const call = session.request({
      ':method': 'POST',
      ':path': createJob,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(timeout && { 'grpc-timeout': timeout }),
    });
    const ended = new Promise<number>((resolve) => {
      call.on('response', (headers) => headers['grpc-status'] !== undefined && resolve(Number(headers['grpc-status'])));
      call.on('trailers', (headers) => resolve(Number(headers['grpc-status'])));
    });
    call.resume();
    return { call, ended };
  };
  const late = Array.from({ length: 10 }, () => open('200m'));
  const patient = Array.from({ length: 10 }, () => open());
  // The server, in this same process, has the headers of all when it answers the second: the first may be sent before them.
  for (let i = 0; i < 2; i++) {
    await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  }
  const until = performance.now() + 300;
  while (performance.now() < until);
  for (const [i, { call }] of [...late, ...patient].entries()) {
    call.end(framed(onWire(parameters(member('busy', doubleField(2, i))))));
  }
  t.deepEqual(await Promise.all(patient.map(({ ended }) => ended)), Array(10).fill(0));
  t.deepEqual(await Promise.all(late.map(({ ended }) => ended)), Array(10).fill(status.DEADLINE_EXCEEDED));
  const consistencyToken = String(await server.end());
  const filters = [filterFromTriple(['script_parameters.busy', 'exists', true])];
  const { jobs } = await ada.jobs.listJobs({ filters, consistencyToken });
  t.deepEqual(
    jobs.map(({ scriptParameters }) => scriptParameters?.busy).sort(),
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  );
});
