import { create, toBinary } from '@bufbuild/protobuf';
import { SubscribeEventsRequestSchema } from '../gen/memoir/history/v1/history_service_pb.js';
import { ListJobsRequestSchema } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { flood, frameHead, headersOf, opening, resetting, tellParent } from './http2-flood.js';

// Does to a server what a caller may, as fast as the system takes the bytes, and connects again when it is cut off. Its arguments are the port, and of
// what: calls, lists, streams, resets, or all of them. Tells its parent how many calls it has made, ten times a second.

const [portText, kind = 'all'] = process.argv.slice(2);
const port = Number(portText);
let made = 0;

const jobs = '/memoir.jobs.v1.JobsService/';
const list = toBinary(ListJobsRequestSchema, create(ListJobsRequestSchema, {}));
const fromNow = { start: { case: 'now', value: {} } } as const;
const subscribe = toBinary(SubscribeEventsRequestSchema, create(SubscribeEventsRequestSchema, fromNow));

const byAttacker = (path: string) => headersOf(path, { 'memoir-principal': 'attacker' });

/** What is called, with what, and whether it is reset at once. */
type Call = { readonly headers: Buffer; readonly body: Uint8Array; readonly reset?: boolean };
const calls: Readonly<Record<string, Call>> = {
  calls: { headers: byAttacker(`${jobs}GetQueueSize`), body: new Uint8Array() },
  lists: { headers: byAttacker(`${jobs}ListJobs`), body: list },
  streams: { headers: byAttacker('/memoir.history.v1.HistoryService/SubscribeEvents'), body: subscribe },
  resets: { headers: byAttacker(`${jobs}GetQueueSize`), body: new Uint8Array(), reset: true },
};
const mix = kind === 'all' ? Object.values(calls) : [calls[kind] as Call];

function framesOf({ headers, body, reset }: Call, stream: number): Buffer[] {
  const opened = opening(headers, stream);
  if (reset) return [...opened, ...resetting(stream)];
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(body.length, 1);
  return [...opened, frameHead(5 + body.length, 0, 1, stream), prefix, Buffer.from(body)];
}

/** Bytes of messages that a connection takes before the server says that there may be more, which this client does not listen for. */
const window = 65_535;

flood(port, () => {
  let sent = 0;
  return (stream) => {
    const call = mix[made % mix.length] as Call;
    sent += call.reset ? 0 : 5 + call.body.length;
    if (sent > window) return undefined;
    made++;
    return framesOf(call, stream);
  };
});
tellParent(port, () => made, 120_000);
