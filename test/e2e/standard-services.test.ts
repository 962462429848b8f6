import { create, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Client, credentials } from '@grpc/grpc-js';
import { field, rawCall } from '../support/raw-call.js';
import { failure } from '../support/refused.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';
import { memoirServices } from '../support/services.js';

const server = serverOfFile();
let client: Client;

test.before(() => {
  client = new Client(server.address(), credentials.createInsecure());
});
test.after.always(() => client.close());

test('the health service says serving, for the server and for each service', async (t) => {
  const check = (name: string) => rawCall(server.address(), '/grpc.health.v1.Health/Check', field(1, name));
  for (const name of ['', ...memoirServices.map(({ typeName }) => typeName)]) {
    t.deepEqual(await check(name), Buffer.from([8, 1]), name);
  }
  t.is((await failure(t, () => check('nope.v1.Nope'))).code, 5);
});

/** Asks the reflection service one question. */
function ask(version: string, question: Buffer): Promise<Buffer> {
  const same = (bytes: Buffer) => bytes;
  return new Promise((resolve, reject) => {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const call = client.makeBidiStreamRequest(path, same, same);
    call.on('data', resolve);
    call.on('error', reject);
    call.write(question);
    call.end();
  });
}

/** The contents of the length-delimited fields `number` of a message. */
function contents(message: Uint8Array, number: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    if (no === number && type === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(type);
  }
  return found;
}

/** The files that an answer describes. */
const filesOf = (answer: Buffer): FileDescriptorProto[] =>
  contents(answer, 4)
    .flatMap((response) => contents(response, 1))
    .map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));

test('the reflection service lists the services and describes them, with all that they need', async (t) => {
  for (const version of ['v1', 'v1alpha']) {
    const listed = contents(await ask(version, field(7, '*')), 6)
      .flatMap((response) => contents(response, 1))
      .map((service) => Buffer.from(contents(service, 1)[0] ?? []).toString());
    const others = [
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ];
    for (const name of others) {
      t.true(listed.includes(name), listed.join(' '));
      const [file] = filesOf(await ask(version, field(4, name)));
      t.true(
        file?.service.some((one) => `${file.package}.${one.name}` === name),
        name,
      );
    }
    for (const service of memoirServices) {
      t.true(listed.includes(service.typeName), listed.join(' '));
      const files = new Map(filesOf(await ask(version, field(4, service.typeName))).map((file) => [file.name, file]));
      // As a client does that asks for what is missing.
      for (const file of files.values()) {
        for (const name of file.dependency) {
          if (!files.has(name))
            for (const more of filesOf(await ask(version, field(3, name)))) files.set(more.name, more);
        }
      }
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: sorted(files) }));
      const described = registry.getService(service.typeName);
      t.deepEqual(
        described?.methods.map((method) => [method.name, method.methodKind, method.input.typeName]),
        service.methods.map((method) => [method.name, method.methodKind, method.input.typeName]),
      );
      for (const [i, method] of service.methods.entries()) {
        t.deepEqual(
          described?.methods[i]?.input.fields.map(({ name, number, fieldKind }) => [name, number, fieldKind]).sort(),
          method.input.fields.map(({ name, number, fieldKind }) => [name, number, fieldKind]).sort(),
          method.name,
        );
      }
    }
    t.deepEqual(filesOf(await ask(version, field(4, 'nope.v1.Nope'))), []);
  }
});

/** The files, each behind those it needs. */
function sorted(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const done = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto | undefined) => {
    if (!file || done.has(file)) return;
    for (const name of file.dependency) add(files.get(name));
    done.add(file);
  };
  for (const file of files.values()) add(file);
  return [...done];
}
