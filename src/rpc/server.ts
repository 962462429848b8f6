import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Served } from './service.js';

/** Longest request, in bytes. Below the 4 MiB that clients accept, so that a job always fits into an answer. */
const maxRequest = 3 * 1024 * 1024;

const options: ServerOptions = {
  'grpc.max_receive_message_length': maxRequest,
  'grpc.max_send_message_length': -1,
  // Dead peers of streams are noticed within about a minute.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.max_concurrent_streams': 4_096,
};

/** A gRPC server that listens. */
export type RpcServer = {
  /** Address that it is bound to, as host:port. */
  readonly address: string;
  /** Says through the health service whether calls are answered. */
  setServing(serving: boolean): void;
  /** Takes no more calls, lets those under way end for up to `drainMs` milliseconds, then cuts them off. */
  stop(drainMs: number): Promise<void>;
};

/**
 * Serves the services, and beside them grpc.health.v1 and server reflection, without encryption.
 * @throws Error naming the address if it cannot be bound
 */
export async function listen(
  host: string,
  port: number,
  services: ReadonlyMap<DescService, Served>,
): Promise<RpcServer> {
  const server = new Server(options);
  for (const { definition, implementation } of services.values()) server.addService(definition, implementation);
  const names = [...services.keys()].map(({ typeName }) => typeName);
  const health = new HealthImplementation(Object.fromEntries(['', ...names].map((name) => [name, 'NOT_SERVING'])));
  health.addToServer(server);
  reflection([...services.keys()]).addToServer(server);
  const bound = await bind(server, host.includes(':') ? `[${host}]` : host, port);

  return {
    address: `${host.includes(':') ? `[${host}]` : host}:${bound}`,
    setServing(serving) {
      for (const name of ['', ...names]) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    async stop(drainMs) {
      const cutOff = setTimeout(() => server.forceShutdown(), drainMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(cutOff);
    },
  };
}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(new Error(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error }));
      else resolve(bound);
    });
  });
}

/**
 * Reflection from the files as they are. proto-loader would merge those of one package into one and lose what does not fit, so
 * what it makes of them is made here: each entry of a package definition carries the files that it is from.
 */
function reflection(services: readonly DescService[]): ReflectionService {
  const files = new Set<DescFile>();
  const add = (file: DescFile) => {
    if (files.has(file)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.add(file);
  };
  for (const { file } of services) add(file);
  const fileDescriptorProtos = [...files].map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)));
  const format = 'Protocol Buffer 3 EnumDescriptorProto';
  const definition = { files: { format, type: {}, fileDescriptorProtos } } as const;
  return new ReflectionService(definition, { services: services.map(({ typeName }) => typeName) });
}
