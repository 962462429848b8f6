import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { memoirServices } from '../support/services.js';

// What other languages need of the protos, and what keeps them as they are.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const buf = join(root, 'node_modules/.bin/buf');
const set = fromBinary(FileDescriptorSetSchema, execFileSync(buf, ['build', '-o', '-#format=binpb'], { cwd: root }));
const files = [...createFileRegistry(set).files].filter(({ proto }) => proto.package.startsWith('memoir.'));

test('every file says where its code lies in C#, Go and Java', (t) => {
  t.true(files.length >= 13);
  for (const { name, proto } of files) {
    const [, area = ''] = /^memoir\.(\w+)\.v1$/.exec(proto.package) ?? [];
    t.is(proto.options?.csharpNamespace, `Memoir.${area.charAt(0).toUpperCase()}${area.slice(1)}.V1`, name);
    t.is(proto.options?.goPackage, `memoir/${area}/v1;${area}v1`, name);
    t.is(proto.options?.javaPackage, `memoir.${area}.v1`, name);
    t.true(proto.options?.javaMultipleFiles, name);
  }
});

test('the tests know every service', (t) => {
  const services = files.flatMap((file) => file.services).map(({ typeName }) => typeName);
  t.deepEqual(memoirServices.map(({ typeName }) => typeName).sort(), services.sort());
});

test('every method says its idempotency level', (t) => {
  const methods = files.flatMap(({ services }) => services).flatMap((service) => service.methods);
  t.true(methods.length > 25);
  for (const { name, parent, proto } of methods) {
    t.true(proto.options !== undefined && Object.hasOwn(proto.options, 'idempotencyLevel'), `${parent.name}.${name}`);
  }
});

test('no message has a name that a gRPC library has', (t) => {
  const taken = new Set([
    'CallOptions',
    'Channel',
    'Metadata',
    'Server',
    'ServerCall',
    'Status',
    'StatusRuntimeException',
  ]);
  const names = files.flatMap(({ messages, enums }) => [...messages, ...enums]).map(({ name }) => name);
  t.deepEqual(
    names.filter((name) => taken.has(name)),
    [],
  );
});

/** What `npm run lint:breaking` says of the protos with one text in the place of another: the lines, none if it is content. */
function judged(path: string, from: string, to: string): readonly string[] {
  const copy = mkdtempSync(join(tmpdir(), 'memoir-protos-'));
  try {
    for (const part of [
      'buf.yaml',
      'buf.events.yaml',
      'proto',
      'node_modules/google-proto-files/google/rpc',
      'node_modules/google-proto-files/google/bytestream',
    ])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    const text = readFileSync(join(copy, path), 'utf8');
    if (!text.includes(from)) throw new Error(`${path} has no ${from}`);
    writeFileSync(join(copy, path), text.replace(from, to));
    const breaking = (...more: string[]) =>
      spawnSync(buf, ['breaking', 'proto', '--against', 'proto/released.binpb', ...more], {
        cwd: copy,
        encoding: 'utf8',
      });
    return [breaking(), breaking('--config', 'buf.events.yaml')].flatMap(({ status, stdout, stderr }) => {
      if (status === 0) return [];
      if (status !== 100) throw new Error(stderr);
      return stdout.trim().split('\n');
    });
  } finally {
    rmSync(copy, { recursive: true });
  }
}

const events = 'proto/memoir/events/v1/events.proto';
const job = 'proto/memoir/jobs/v1/job.proto';
const service = 'proto/memoir/worker/v1/worker_service.proto';

test('what is added breaks nothing', (t) => {
  const field = '  // Anything.\n  string anything = 1000;\n';
  for (const [path, message] of [
    [events, 'JobDeleted'],
    [job, 'Job'],
    [service, 'ClaimJobRequest'],
  ] as const) {
    t.deepEqual(judged(path, `message ${message} {\n`, `message ${message} {\n${field}`), [], message);
  }
});

test('a change that an old log or an old client would not bear is refused', (t) => {
  // Another name in an event is another member in the log's JSON; another namespace is only another name in code.
  t.regex(judged(events, 'string output = 1;', 'string result = 1;').join(), /changed name from "output" to "result"/);
  t.deepEqual(judged(events, '"Memoir.Events.V1"', '"Memoir.Log.V1"'), []);
  t.regex(judged(job, '"Memoir.Jobs.V1"', '"Memoir.V1"').join(), /csharp_namespace/);
  t.regex(judged(job, 'JobState state = 8;', 'string state = 8;').join(), /field "8"/i);
  const method = /rpc FailJob\(.*\{\n.*\n {2}\}\n/.exec(readFileSync(join(root, service), 'utf8'))?.[0] ?? '';
  t.regex(judged(service, method, '').join(), /deleted/);
});
