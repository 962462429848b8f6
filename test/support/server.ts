import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { AuditService } from '../../gen/memoir/audit/v1/audit_service_pb.js';
import { ContentService } from '../../gen/memoir/content/v1/content_service_pb.js';
import { RetentionService } from '../../gen/memoir/content/v1/retention_service_pb.js';
import { HistoryService } from '../../gen/memoir/history/v1/history_service_pb.js';
import { ImagesService } from '../../gen/memoir/images/v1/images_service_pb.js';
import { ExclusionsService } from '../../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { RepositoriesService } from '../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { WorkerService } from '../../gen/memoir/worker/v1/worker_service_pb.js';
import { WorkersService } from '../../gen/memoir/workers/v1/workers_service_pb.js';
import { type ServerConfig, serverConfig } from '../../src/config.js';
import { type Edge, systemEdge } from '../../src/edge.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { startServer } from '../../src/main.js';
import { type Connection, connect, type ServiceClient } from '../../src/rpc/client.js';

/** The services as one principal calls them. */
export type Clients = {
  readonly principal: string;
  readonly jobs: ServiceClient<typeof JobsService.method>;
  readonly worker: ServiceClient<typeof WorkerService.method>;
  readonly exclusions: ServiceClient<typeof ExclusionsService.method>;
  readonly history: ServiceClient<typeof HistoryService.method>;
  readonly audit: ServiceClient<typeof AuditService.method>;
  readonly images: ServiceClient<typeof ImagesService.method>;
  readonly workers: ServiceClient<typeof WorkersService.method>;
  readonly content: ServiceClient<typeof ContentService.method>;
  readonly retention: ServiceClient<typeof RetentionService.method>;
  readonly repositories: ServiceClient<typeof RepositoriesService.method>;
  close(): void;
};

/** A line of the server's own log. */
export type LogLine = {
  readonly level: number;
  readonly msg: string;
  readonly err?: { readonly message: string };
  readonly [more: string]: unknown;
};

/** Level of an error in the server's log; warnings are below. */
const errorLevel = 50;

/** A real server in this process, with a data directory of its own, listening on a free port. */
export type TestServer = {
  readonly config: ServerConfig;
  /** Address as host:port; another one after `restart`. */
  address(): string;
  /** The services as this principal calls them, by one connection a principal. */
  as(principal: string): Clients;
  /** Position of the last event of the log. */
  end(): Promise<number>;
  /** Lines of the server's log at level error and above. A test that expects some takes them out of the array. */
  readonly errors: LogLine[];
  /** Lines at level warn. */
  readonly warnings: LogLine[];
  /** Stops the server as SIGTERM does, and leaves the data. */
  stop(): Promise<void>;
  /** Starts it again on the same data, after `stop` or instead of it. */
  restart(): Promise<void>;
  /** Stops it and removes its data. Throws if there are `errors`. */
  dispose(): Promise<void>;
};

/** Settings of a test's server. `repositories` are directories by name. */
export type TestServerOptions = {
  readonly repositories?: Readonly<Record<string, string>>;
  readonly edge?: Edge;
  readonly settings?: Partial<ServerConfig>;
};

/** The services of the server at `address`, for one principal. */
export function clientsOf(address: string, principal: string): Clients {
  const connection: Connection = connect(address, principal);
  return {
    principal,
    jobs: connection.service(JobsService),
    worker: connection.service(WorkerService),
    exclusions: connection.service(ExclusionsService),
    history: connection.service(HistoryService),
    audit: connection.service(AuditService),
    images: connection.service(ImagesService),
    workers: connection.service(WorkersService),
    content: connection.service(ContentService),
    retention: connection.service(RetentionService),
    repositories: connection.service(RepositoriesService),
    close: () => connection.close(),
  };
}

/** Settings with a data directory of their own under the system's temporary one. */
export function testConfig({ repositories = {}, settings = {} }: TestServerOptions): ServerConfig {
  return serverConfig.parse({
    data_dir: mkdtempSync(join(tmpdir(), 'memoir-e2e-')),
    listen: '127.0.0.1:0',
    repositories: Object.fromEntries(Object.entries(repositories).map(([name, path]) => [name, { path }])),
    ...settings,
  });
}

/** Starts a server that answers calls when this resolves. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const config = testConfig(options);
  const errors: LogLine[] = [];
  const warnings: LogLine[] = [];
  const write = (text: string) => {
    const line = JSON.parse(text) as LogLine;
    (line.level >= errorLevel ? errors : warnings).push(line);
  };
  const logger = pino({ level: 'warn' }, { write });
  const start = async () => {
    const server = await startServer(config, options.edge ?? systemEdge, logger);
    await server.ready();
    return server;
  };
  let running = await start();
  let stopped = false;
  let clients = new Map<string, Clients>();

  async function stop() {
    if (stopped) return;
    stopped = true;
    await running.stop();
    for (const client of clients.values()) client.close();
    clients = new Map();
  }

  return {
    config,
    address: () => running.address,
    as(principal) {
      const known = clients.get(principal) ?? clientsOf(running.address, principal);
      clients.set(principal, known);
      return known;
    },
    async end() {
      const log = openSqliteLog(join(config.data_dir, 'events.sqlite'));
      const end = await log.end();
      await log.close();
      return end;
    },
    errors,
    warnings,
    stop,
    async restart() {
      await stop();
      running = await start();
      stopped = false;
    },
    async dispose() {
      await stop();
      rmSync(config.data_dir, { recursive: true, force: true });
      if (errors.length > 0) throw new Error(`the server logged ${JSON.stringify(errors)}`);
    },
  };
}

/** Removes the read model of a server that is stopped. */
export function loseReadModel({ data_dir }: Pick<ServerConfig, 'data_dir'>): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(data_dir, `read-model.sqlite${suffix}`), { force: true });
}
