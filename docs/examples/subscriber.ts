import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import Database from 'better-sqlite3';
import {
  type SubscribeEventsRequest,
  SubscribeEventsRequestSchema,
  type SubscribeEventsResponse,
  SubscribeEventsResponseSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';

// Follows a Memoir server and keeps a table of finished jobs in SQLite, each of them exactly once:
//
//     node build/docs/examples/subscriber.js 127.0.0.1:7420 finished.sqlite
//
// In a project of your own, `gen/` is what protoc-gen-es makes of Memoir's `proto/`.

const [address = '127.0.0.1:7420', path = 'finished.sqlite'] = process.argv.slice(2);

const database = new Database(path);
database.exec(`
  CREATE TABLE IF NOT EXISTS finished (job TEXT PRIMARY KEY, how TEXT, at TEXT);
  CREATE TABLE IF NOT EXISTS place (only INTEGER PRIMARY KEY CHECK (only = 1), token TEXT);
`);
const place = database.prepare('SELECT token FROM place').pluck();
const keepPlace = database.prepare('INSERT OR REPLACE INTO place VALUES (1, ?)');
const keepJob = database.prepare('INSERT INTO finished VALUES (?, ?, ?)');

/** Goes on where the table ends: at its token, or else at the beginning of the log. */
function request(): SubscribeEventsRequest {
  const resumeToken = place.get() as string | undefined;
  return create(SubscribeEventsRequestSchema, {
    start: resumeToken ? { case: 'resumeToken', value: resumeToken } : { case: 'beginning', value: {} },
    eventTypes: ['JobCompleted', 'JobFailed', 'JobCancelled'],
  });
}

// One transaction for what was learnt and where it was learnt: both are there, or neither is.
const take = database.transaction(({ content, resumeToken }: SubscribeEventsResponse) => {
  if (content.case === 'event') {
    const { stream, eventType, recordedAt } = content.value;
    const job = stream.slice('job-'.length);
    const at = recordedAt ? timestampDate(recordedAt).toISOString() : '';
    keepJob.run(job, eventType, at);
    console.log(at, eventType, job);
  }
  keepPlace.run(resumeToken);
});

async function follow(client: Client): Promise<never> {
  const metadata = new Metadata();
  metadata.set('memoir-principal', 'example');
  for (let pause = 250; ; pause = Math.min(pause * 2, 5_000)) {
    try {
      const messages = client.makeServerStreamRequest(
        '/memoir.history.v1.HistoryService/SubscribeEvents',
        (message: SubscribeEventsRequest) => Buffer.from(toBinary(SubscribeEventsRequestSchema, message)),
        (bytes: Buffer) => fromBinary(SubscribeEventsResponseSchema, bytes),
        request(),
        metadata,
      );
      for await (const message of messages) {
        take(message as SubscribeEventsResponse);
        pause = 250;
      }
    } catch (error) {
      if ((error as ServiceError).code !== status.UNAVAILABLE) throw error;
      console.error(`${(error as ServiceError).details}; trying again`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

await follow(new Client(address, credentials.createInsecure(), { 'grpc.keepalive_time_ms': 60_000 }));
