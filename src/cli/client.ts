import { status } from '@grpc/grpc-js';
import {
  Capabilities,
  ContentAddressableStorage,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream } from '../../gen/google/bytestream/bytestream_pb.js';
import { Health } from '../../gen/health/v1/health_pb.js';
import { AuditService } from '../../gen/memoir/audit/v1/audit_service_pb.js';
import { CallersService } from '../../gen/memoir/callers/v1/callers_service_pb.js';
import { ContentService } from '../../gen/memoir/content/v1/content_service_pb.js';
import { RetentionService } from '../../gen/memoir/content/v1/retention_service_pb.js';
import { HistoryService } from '../../gen/memoir/history/v1/history_service_pb.js';
import { ImagesService } from '../../gen/memoir/images/v1/images_service_pb.js';
import { ExclusionsService } from '../../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { RepositoriesService } from '../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { WorkersService } from '../../gen/memoir/workers/v1/workers_service_pb.js';
import { MemoirError, quote } from '../domain/errors.js';
import { CallError } from '../rpc/call-error.js';
import { type CallSettings, type ClientOf, type Connection, connect, proxyOf } from '../rpc/client.js';
import { keptToken, withGoodToken } from './auth/kept-token.js';
import { type Profile, readProfile, usualProfile } from './auth/profile.js';
import { tlsFilesOf, tokenOf } from './credentials.js';
import type { RemoteOptions, ServerOptions } from './options.js';
import { ownName } from './own-name.js';
import { serverAddress } from './server-address.js';

/** The services that commands call, and how. */
export type Clients = {
  readonly jobs: ClientOf<typeof JobsService>;
  readonly exclusions: ClientOf<typeof ExclusionsService>;
  readonly history: ClientOf<typeof HistoryService>;
  readonly repositories: ClientOf<typeof RepositoriesService>;
  readonly audit: ClientOf<typeof AuditService>;
  readonly images: ClientOf<typeof ImagesService>;
  readonly workers: ClientOf<typeof WorkersService>;
  readonly content: ClientOf<typeof ContentService>;
  readonly cas: ClientOf<typeof ContentAddressableStorage>;
  readonly bytes: ClientOf<typeof ByteStream>;
  readonly capabilities: ClientOf<typeof Capabilities>;
  readonly retention: ClientOf<typeof RetentionService>;
  readonly callers: ClientOf<typeof CallersService>;
  readonly health: ClientOf<typeof Health>;
  /** For calls with one answer. */
  readonly unary: CallSettings;
  /** The server's address, as host:port. */
  readonly address: string;
  /** Waits until there is a connection, for so many seconds. @throws CallError if there is none in time */
  readonly connected: (patience: number) => Promise<void>;
};

/**
 * Calls a server by `work` and lets go of the connection.
 * @throws CallError, its message naming the address where the server could not be reached
 */
export async function withClients<T>(
  options: RemoteOptions & Target,
  work: (clients: Clients) => Promise<T>,
): Promise<T> {
  await renewToken(options);
  const connection = connectTo(options);
  try {
    return await work({
      jobs: connection.service(JobsService),
      exclusions: connection.service(ExclusionsService),
      history: connection.service(HistoryService),
      repositories: connection.service(RepositoriesService),
      audit: connection.service(AuditService),
      images: connection.service(ImagesService),
      workers: connection.service(WorkersService),
      content: connection.service(ContentService),
      cas: connection.service(ContentAddressableStorage),
      bytes: connection.service(ByteStream),
      capabilities: connection.service(Capabilities),
      retention: connection.service(RetentionService),
      callers: connection.service(CallersService),
      health: connection.service(Health),
      unary: { timeoutMs: options.timeout * 1_000 },
      address: serverAddress(targetOf(options).server).address,
      connected: (patience) => connection.connected(patience * 1_000),
    });
  } catch (error) {
    throw withAddress(error, options);
  } finally {
    connection.close();
  }
}

/** Options that say which server is called, and what else is given for it. */
type Target = ServerOptions & { readonly given?: { readonly token: string } };

/** The server that is called where nothing else is said. */
const ownMachine = '127.0.0.1:7420';

/** Which server is meant, and the profile, by its name. */
type Meant = { readonly server: string; readonly name: string; readonly profile: Profile | undefined };

/**
 * Renews the token that the options mean, where that is an issuer's and nearly over.
 * @throws MemoirError UNAUTHENTICATED if its login has ended; UNAVAILABLE if its issuer cannot be asked
 */
export async function renewToken(options: Target): Promise<void> {
  if (options.given || tokenOf(options, process.env)) return;
  const { name, profile } = targetOf(options);
  if (profile?.login) await withGoodToken(name, profile);
}

/**
 * Which server the options name, and the profile that is meant by them.
 * @throws MemoirError INVALID_ARGUMENT if there is no such profile, or it is of another server
 */
function targetOf({ server, profile: named }: ServerOptions): Meant {
  const name = named ?? usualProfile;
  if (server !== undefined && named === undefined) return { server, name, profile: undefined };
  const profile = readProfile(name, process.env);
  if (!profile && named !== undefined) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'NO_PROFILE',
      `there is no profile ${quote(name)}: memoir login makes one`,
    );
  }
  // The token of one server is not for another.
  if (profile && server !== undefined && server !== profile.server) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'OTHER_SERVER',
      `the profile ${quote(name)} is of the server ${quote(profile.server)}, and --server (MEMOIR_SERVER) is ${quote(server)}`,
    );
  }
  return { server: server ?? profile?.server ?? ownMachine, name, profile };
}

/**
 * A connection as the options say.
 * @param byDefault whom to call oneself where the server is told nothing else that says who calls
 * @throws MemoirError INVALID_ARGUMENT naming an address, a principal, a profile or a file that cannot be one
 */
export function connectTo(options: Target, byDefault = ownName()): Connection {
  const { server, name, profile } = targetOf(options);
  const { address, tls } = serverAddress(server);
  const { given } = options;
  const token = given ? () => given.token : (tokenOf(options, process.env) ?? keptToken(name, profile));
  const files = tlsFilesOf(options, server, tls);
  const ca = profile?.ca === undefined ? undefined : { ca: Buffer.from(profile.ca) };
  const proven = token !== undefined || files?.cert !== undefined;
  const principal = options.principal ?? (proven ? undefined : byDefault);
  if (principal !== undefined && !/^[\x21-\x7e]{1,256}$/.test(principal)) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'BAD_PRINCIPAL',
      `--principal (MEMOIR_PRINCIPAL) ${quote(principal)}: give 1 to 256 printable ASCII characters without spaces`,
    );
  }
  const encrypted = ca || files ? { ...ca, ...files } : (tls ?? false);
  return connect(address, principal, { tls: encrypted, token, patient: true });
}

/** The error with the server's address, where it came of not reaching one. */
export function withAddress(error: unknown, options: ServerOptions): unknown {
  if (!(error instanceof CallError) || error.reason !== '') return error;
  const { server } = targetOf(options);
  if (error.code === status.UNAVAILABLE) {
    const proxy = proxyOf(serverAddress(server).address, process.env);
    const by = proxy === undefined ? '' : ` by the proxy ${proxy}, unless no_proxy exempts it`;
    const why = error.message.replace(/ Resolution note: $/, '').replace(/ Last error: undefined\.?/, '');
    // Something listens there, and does not speak as it was spoken to.
    const encrypts =
      serverAddress(server).tls === undefined && /Failed to connect|connection closed|ECONNRESET/i.test(why);
    const hint = encrypts ? `; if it encrypts, give it as grpcs://${server}` : '';
    return new CallError(error.code, `cannot reach the server at ${server}${by}: ${why}${hint}`);
  }
  if (error.code === status.DEADLINE_EXCEEDED) {
    return new CallError(error.code, `the server at ${server} did not answer in time: ${error.message}`);
  }
  return error;
}
