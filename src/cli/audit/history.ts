import { durationMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import canonicalize from 'canonicalize';
import { Command } from 'commander';
import { GenerationStarted_Reason } from '../../../gen/memoir/events/v1/events_pb.js';
import {
  type ReadHistoryResponse,
  type RecordedEvent,
  RecordedEventSchema,
} from '../../../gen/memoir/history/v1/history_service_pb.js';
import type { Image } from '../../../gen/memoir/images/v1/image_pb.js';
import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { withClients } from '../client.js';
import { exclusionText } from '../jobs/exclusions.js';
import { uuidHelp, wholeUuid } from '../jobs/uuid-prefix.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { decisionLine, evidenceLines } from '../text/decision-text.js';
import { constraintsText, progressText, tasksText, versionText } from '../text/job-view.js';
import { note, printLine, printMessage } from '../text/output.js';
import { printable, printableLines } from '../text/printable.js';
import { styled } from '../text/style.js';
import { instant, span } from '../text/time-text.js';
import { time } from '../time-option.js';

type HistoryOptions = RemoteOptions & {
  readonly json?: boolean;
  readonly computation?: string;
  readonly repository?: string;
  readonly by?: string;
  readonly since?: number;
  readonly until?: number;
};

/** `memoir history`. */
export function historyCommand(): Command {
  const command = new Command('history')
    .description('tell what was recorded of a job, or of anything else: when, who, what and why')
    .argument('[uuid]', uuidHelp)
    .option('--computation <digest>', 'of every job of a computation')
    .option('--repository <name>', 'of every job of a repository, and its exclusions')
    .option('--by <principal>', 'only what was done by a principal')
    .option(
      '--since <time>',
      'only from a time on: 2026-01-31T12:00:00Z, 2026-01-31, or how long ago: 90m, 12h, 7d',
      time(Date.now),
    )
    .option('--until <time>', 'only before a time', time(Date.now));
  return remote(withJson(command)).action((given: string | undefined, options: HistoryOptions) =>
    withClients(options, async (clients) => {
      const uuid = given === undefined ? undefined : await wholeUuid(clients, given);
      const { computation, repository, by, since, until } = options;
      const request = {
        ...(uuid !== undefined && { uuid }),
        ...(computation !== undefined && { computationDigest: computation }),
        ...(repository !== undefined && { repository }),
        ...(by !== undefined && { principal: by }),
        ...(since !== undefined && { since: timestampFromMs(since) }),
        ...(until !== undefined && { until: timestampFromMs(until) }),
      };
      await printHistory(clients.history.readHistory(request), options.json === true, uuid === undefined);
    }),
  );
}

/** Prints events, as a story or as JSON; `naming` tells of which stream each is. */
async function printHistory(events: AsyncIterable<ReadHistoryResponse>, json: boolean, naming: boolean): Promise<void> {
  let before: RecordedEvent | undefined;
  let any = false;
  let quiet = 0;
  const tellQuiet = async () => {
    if (quiet > 0) await printLine(styled('dim', `    (${quiet} heartbeats without news)`));
    quiet = 0;
  };
  for await (const { event } of events) {
    if (!event) continue;
    any = true;
    if (json) await printMessage(RecordedEventSchema, event);
    else if (isBareHeartbeat(event)) quiet += 1;
    else {
      await tellQuiet();
      for (const line of naming ? namedStory(event, before) : storyLines(event, before)) await printLine(line);
      before = event;
    }
  }
  await tellQuiet();
  if (!any) note('nothing was recorded of that, or nothing that you may read');
}

/** Whether the event only extends a lease, as thousands of a long run do. */
export function isBareHeartbeat({ event }: RecordedEvent): boolean {
  if (event.case !== 'jobProgressed') return false;
  const { progress, progressMessage, tasksSummary } = event.value;
  return progress === undefined && progressMessage === undefined && tasksSummary === undefined;
}

/** One event as people read it: a line that says when, who and what, and under it why. */
export function storyLines(event: RecordedEvent, before: RecordedEvent | undefined): readonly string[] {
  const [what, details] = story(event.event, event.eventType);
  const since =
    before?.recordedAt && event.recordedAt
      ? ` (+${span(Math.max(0, timestampMs(event.recordedAt) - timestampMs(before.recordedAt)))})`
      : '';
  const { principal = '', actor = '' } = event.metadata ?? {};
  const who = `${printable(principal) || 'unknown'}${actor === '' ? '' : ` (by ${printable(actor)})`}`;
  return [
    `${styled('dim', `${instant(event.recordedAt)}${since}`)} ${styled('bold', who)} ${what}`,
    ...details.filter((line) => line !== '').map((line) => `    ${line}`),
  ];
}

/** As `storyLines`, telling also of which stream the event is. */
export function namedStory(event: RecordedEvent, before: RecordedEvent | undefined): readonly string[] {
  const [head, ...details] = storyLines(event, before);
  return [`${head} ${styled('dim', `[${printable(event.stream)}]`)}`, ...details];
}

type Story = readonly [what: string, details: readonly string[]];

function story({ case: name, value }: RecordedEvent['event'], eventType: string): Story {
  switch (name) {
    case 'jobRequested':
      return [
        `requested ${printable(value.script)} of ${printable(value.repository)}: run ${value.runNumber}, queued`,
        [
          `version: ${versionText(value)}`,
          `parameters: ${printable(canonicalize(value.scriptParameters ?? {}) ?? '')}`,
          value.unhashedParameters ? `not hashed: ${printable(canonicalize(value.unhashedParameters) ?? '')}` : '',
          value.supersede ? 'supersedes earlier runs of the same, once it is Complete' : '',
          value.runtimeConstraints ? `constraints: ${constraintsText(value.runtimeConstraints)}` : '',
          value.dockerImageLocator && `docker image: ${printable(value.dockerImageLocator)}`,
          value.arvadosSdkVersion && `arvados sdk: ${printable(value.arvadosSdkVersion)}`,
          value.priority === 0 ? '' : `priority: ${value.priority}`,
          value.nondeterministic ? 'nondeterministic: it will not be reused' : '',
          value.submitId && `submit id: ${printable(value.submitId)}`,
          value.description && `description: ${printable(value.description)}`,
          ...why(value.decision),
        ],
      ];
    case 'jobStarted':
      return [
        `started it as worker ${printable(value.worker)}`,
        [value.lease ? `lease: ${span(durationMs(value.lease))}` : ''],
      ];
    case 'jobProgressed':
      return [
        `reported progress: ${progressText({ ...value, progressMessage: value.progressMessage ?? '' }) || 'tasks'}`,
        [value.tasksSummary ? `tasks: ${tasksText(value)}` : ''],
      ];
    case 'jobCompleted':
      return [
        'completed it',
        [
          value.output ? `output: ${printable(value.output)}` : 'without an output: it will not be reused',
          value.log ? `log: ${printable(value.log)}` : 'without a log: it will not be reused',
          value.tasksSummary ? `tasks: ${tasksText(value)}` : '',
        ],
      ];
    case 'jobFailed':
      return [
        `recorded its failure: ${printable(value.reason)}`,
        [...printableLines(value.message).split('\n'), value.log && `log: ${printable(value.log)}`],
      ];
    case 'jobCancelled':
      return ['cancelled it', [value.cascadeFrom && `with job ${printable(value.cascadeFrom)}, which started it`]];
    case 'jobUpdated':
      return [
        'changed it',
        [
          value.priority === undefined ? '' : `priority: ${value.priority}`,
          value.description === undefined ? '' : `description: ${printable(value.description)}`,
          value.components ? `components: ${printable(canonicalize(value.components.uuids) ?? '')}` : '',
          value.labels ? `labels: ${printable(canonicalize(value.labels.values) ?? '')}` : '',
        ],
      ];
    case 'jobDeleted':
      return ['deleted it', ['it is out of every read and out of reuse; this history stays']];
    case 'jobReused':
      return [
        `was answered with it`,
        [
          `version: ${versionText(value)}`,
          value.submitId && `submit id: ${printable(value.submitId)}`,
          ...why(value.decision),
        ],
      ];
    case 'excludedFromReuse':
      return [
        `excluded ${value.exclusion ? printable(exclusionText(value.exclusion)) : 'nothing'} from reuse`,
        [`reason: ${printable(value.exclusion?.reason ?? '')}`, `exclusion: ${printable(value.exclusion?.id ?? '')}`],
      ];
    case 'checkpointSigned':
      return [`signed a checkpoint of the first ${value.treeSize} events`, [`key: ${printable(value.key)}`]];
    case 'generationStarted':
      return [
        value.reason === GenerationStarted_Reason.OTHER_LOG
          ? 'went on with another log than the one that was known'
          : 'went on with a log that had lost its end',
        [
          `generation: ${value.generation}`,
          value.known ? `known up to position ${value.known.position}` : '',
          `found up to position ${value.found?.position ?? 0}`,
        ],
      ];
    case 'signingKeysChanged':
      return ['what is recorded from here on is signed', value.keys.map((key) => `key: ${printable(key)}`)];
    case 'runNumbersTaken':
      return [`kept the run numbers of ${value.computations.length} computations from being given again`, []];
    case 'reinstatedForReuse':
      return [`lifted exclusion ${printable(value.exclusionId)}`, [`reason: ${printable(value.reason)}`]];
    case 'imageRegistered':
      return [`registered docker image ${printable(value.image?.locator ?? '')}`, [imageNames(value.image)]];
    case 'imageForgotten':
      return [`forgot docker image ${printable(value.locator)}`, [`reason: ${printable(value.reason)}`]];
    case 'contentStored':
      return [
        `stored ${printable(value.digest?.hash ?? '')}, ${value.digest?.sizeBytes ?? 0} bytes`,
        [value.job && `of job ${printable(value.job)}, attempt ${value.attempt}`],
      ];
    case 'jobLogAppended':
      return ['appended to its live log', printableLines(value.text).trimEnd().split('\n')];
    default:
      return [`recorded ${printable(eventType)}, which this version of memoir does not know`, []];
  }
}

function imageNames(image: Image | undefined): string {
  if (!image) return '';
  return `names: ${printable([image.repository, image.tag, image.hash].filter((name) => name !== '').join(', '))}`;
}

function why(decision: Decision | undefined): readonly string[] {
  return [`why: ${decisionLine(decision)}`, ...evidenceLines(decision).map((line) => `  ${line}`)];
}
