import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  type RecordedEvent,
  type SubscribeEventsRequestSchema,
  type SubscribeEventsResponse,
  SubscribeEventsResponseSchema,
} from '../../../gen/memoir/history/v1/history_service_pb.js';
import { isBareHeartbeat, namedStory } from '../audit/history.js';
import { type Clients, withClients } from '../client.js';
import { wholeUuid } from '../jobs/uuid-prefix.js';
import { type RemoteOptions, remote, repeated, withJson } from '../options.js';
import { stopSignal } from '../server/stop-signals.js';
import { note, printLine, printMessage } from '../text/output.js';
import { printableLines } from '../text/printable.js';
import { parseTime, timeForms } from '../time-option.js';
import { cloudEventJson } from './cloud-event-json.js';
import { resumed } from './resume.js';
import { openTokenFile, readTokenFile } from './token-file.js';

type Start = NonNullable<MessageInitShape<typeof SubscribeEventsRequestSchema>['start']>;

type TailOptions = RemoteOptions & {
  readonly from?: Start;
  readonly type?: readonly string[];
  readonly repository?: readonly string[];
  readonly script?: readonly string[];
  readonly owner?: readonly string[];
  readonly job?: readonly string[];
  readonly json?: boolean;
  readonly cloudevents?: boolean;
  readonly resume?: string;
};

/** `memoir tail`. */
export function tailCommand(): Command {
  const command = new Command('tail')
    .description('print the events of the log as they are recorded, until it is interrupted')
    .option(
      '--from <where>',
      `beginning, now, the position of an event to go on after, or a time: ${timeForms} (default: now)`,
      start,
    )
    .option('--type <name>', 'only events of a type, such as JobCompleted (repeatable)', repeated)
    .option('--repository <glob>', 'only of repositories whose name matches, such as team/* (repeatable)', repeated)
    .option('--script <path>', 'only of jobs of a script (repeatable)', repeated)
    .option('--owner <principal>', 'only of jobs of an owner (repeatable)', repeated)
    .option('--job <uuid>', 'only of a job: its uuid, or at least 4 digits that it begins with (repeatable)', repeated)
    .addOption(new Option('--cloudevents', 'print CloudEvents as JSON, one a line').conflicts('json'))
    .option('--resume <file>', 'go on after what the file tells, and keep in it what was printed');
  return remote(withJson(command)).action((options: TailOptions) =>
    withClients(options, async (clients) => {
      const job = await Promise.all((options.job ?? []).map((given) => wholeUuid(clients, given)));
      await tail(
        clients,
        { ...options, job },
        stopSignal(() => undefined),
      );
    }),
  );
}

async function tail(clients: Clients, options: TailOptions, signal: AbortSignal): Promise<void> {
  let token = options.resume === undefined ? undefined : readTokenFile(options.resume);
  const kept = options.resume === undefined ? undefined : openTokenFile(options.resume);
  const print = printer(options);
  const open = () => clients.history.subscribeEvents(requestOf(options, token), { signal });
  const onBroken = ({ message }: Error) => note(`${printableLines(message)}; trying again`);
  try {
    for await (const message of resumed(open, { patienceMs: Number.POSITIVE_INFINITY, onBroken, signal })) {
      await print(message);
      // Behind what was printed, never before it: whoever is killed between the two prints it again.
      if (message.resumeToken !== token) kept?.keep(message.resumeToken);
      token = message.resumeToken;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    kept?.flush();
  }
}

function requestOf({ from, type, repository, script, owner, job }: TailOptions, token: string | undefined) {
  const begin: Start | undefined = token === undefined ? from : { case: 'resumeToken', value: token };
  return {
    ...(begin && { start: begin }),
    eventTypes: [...(type ?? [])],
    repositories: [...(repository ?? [])],
    scripts: [...(script ?? [])],
    owners: [...(owner ?? [])],
    jobUuids: [...(job ?? [])],
  };
}

function printer({ json, cloudevents }: TailOptions): (message: SubscribeEventsResponse) => Promise<void> {
  let before: RecordedEvent | undefined;
  return async (message) => {
    if (message.content.case !== 'event') return;
    const { value: event } = message.content;
    if (json) return printMessage(SubscribeEventsResponseSchema, message);
    if (cloudevents) return printLine(cloudEventJson(message) ?? '');
    if (isBareHeartbeat(event)) return;
    for (const line of namedStory(event, before)) await printLine(line);
    before = event;
  };
}

function start(text: string): Start {
  if (text === 'beginning' || text === 'now') return { case: text, value: {} };
  if (/^\d{1,16}$/.test(text)) return { case: 'position', value: BigInt(text) };
  const ms = parseTime(text, Date.now);
  if (ms === undefined) {
    throw new InvalidArgumentError(`Give beginning, now, the position of an event, or a time as ${timeForms}.`);
  }
  return { case: 'time', value: timestampFromMs(ms) };
}
