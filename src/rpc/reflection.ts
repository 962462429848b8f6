import { createRequire } from 'node:module';
import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { protoPath as healthProto } from 'grpc-health-check';

/** Services that come with libraries, and the files that describe them. */
const require = createRequire(import.meta.url);
const libraries: readonly (readonly [service: string, file: string])[] = [
  ['grpc.health.v1.Health', healthProto],
  ...(['v1', 'v1alpha'] as const).map(
    (version) =>
      [
        `grpc.reflection.${version}.ServerReflection`,
        require.resolve(`@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`),
      ] as const,
  ),
];

/** A version of reflection, and what answers its calls. */
type Version = { readonly definition: ServiceDefinition; readonly implementation: UntypedServiceImplementation };

/** What a reflection adds to a server. */
function versionsOf(reflection: ReflectionService): readonly Version[] {
  const versions: Version[] = [];
  const addService = (definition: ServiceDefinition, implementation: UntypedServiceImplementation) =>
    void versions.push({ definition, implementation });
  reflection.addToServer({ addService } as Partial<Server> as Server);
  return versions;
}

/** How they are called, which is the same whatever is described. */
let called: readonly Version[] | undefined;

/**
 * Adds reflection of the services, and of those beside them, to a server. What they are described by is made when somebody asks first,
 * since it takes a good part of the time in which a server starts.
 */
export function addReflection(server: Server, services: readonly DescService[]): void {
  let made: readonly Version[] | undefined;
  called ??= versionsOf(new ReflectionService({}, { services: [] }));
  for (const [i, { definition, implementation }] of called.entries()) {
    const answer = (method: string) => (call: never) => {
      made ??= versionsOf(reflectionOf(services));
      const { [method]: answers } = (made[i] as Version).implementation;
      (answers as (call: never) => void)(call);
    };
    const answers = Object.keys(implementation).map((method) => [method, answer(method)]);
    server.addService(definition, Object.fromEntries(answers));
  }
}

/**
 * Reflection of the services and of those beside them, from the files as they are. proto-loader would merge those of one package
 * into one and lose what does not fit, so what it makes of them is made here: each entry of a package definition carries the files
 * that it is from.
 */
function reflectionOf(services: readonly DescService[]): ReflectionService {
  const files = new Set<DescFile>();
  const add = (file: DescFile) => {
    if (files.has(file)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.add(file);
  };
  for (const { file } of services) add(file);
  const fileDescriptorProtos = [...files].map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)));
  for (const [, file] of libraries) {
    // Every message of a file carries it; here a package is one file in any case.
    for (const entry of Object.values(loadSync(file, { keepCase: true }))) {
      const described = 'fileDescriptorProtos' in entry ? (entry.fileDescriptorProtos as Uint8Array[]) : [];
      if (described.length === 0) continue;
      fileDescriptorProtos.push(...described.map((bytes) => Buffer.from(bytes)));
      break;
    }
  }
  const format = 'Protocol Buffer 3 EnumDescriptorProto';
  const definition = { files: { format, type: {}, fileDescriptorProtos } } as const;
  const names = [...services.map(({ typeName }) => typeName), ...libraries.map(([name]) => name)];
  return new ReflectionService(definition, { services: names });
}
