import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import { CheckOutcome } from '../../../gen/memoir/jobs/v1/check_pb.js';
import {
  type CodeChange,
  type CodeComparison,
  type ComparedJob,
  ComparedPart,
  type CompareJobsResponse,
  type InputComparison,
  type JobDifference,
  type OutputComparison,
} from '../../../gen/memoir/jobs/v1/comparison_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { stateName } from '../../domain/job.js';
import { outputDifferences } from './output-differences.js';
import { printable } from './printable.js';
import { styled } from './style.js';
import { table } from './table.js';
import { instant, span } from './time-text.js';

/** In what two jobs differ, as people read it: a section for each kind of difference, none where nothing differs. */
export function comparisonText(answer: CompareJobsResponse): string {
  const { differences, differencesTruncated: truncated } = answer;
  const of = (part: ComparedPart) => differences.filter((one) => one.part === part);
  const sections = [
    jobsText(answer),
    fieldsText('request', of(ComparedPart.REQUEST)),
    fieldsText('resolved to', of(ComparedPart.RESOLUTION)),
    codeText(answer.code),
    inputsText(answer.inputs, answer.inputsTruncated),
    outputText(answer.output),
    fieldsText('run', of(ComparedPart.RUN)),
    ...(truncated ? ['more fields differ; see --differences'] : []),
    ...(answer.same ? ['nothing differs but how the runs went'] : []),
  ];
  return sections.filter((text) => text !== '').join('\n\n');
}

function jobsText({ a, b }: CompareJobsResponse): string {
  const row = (name: string, job: ComparedJob | undefined) =>
    job
      ? [name, printable(job.uuid), stateName(job.state), printable(job.owner), instant(job.createdAt), ...timesOf(job)]
      : [name];
  const head = ['', 'JOB', 'STATE', 'OWNER', 'CREATED', 'QUEUED', 'RAN', 'ATTEMPTS'];
  const attempts = [a, b].flatMap((job, i) => (job && job.attemptCount > 1 ? [attemptsText('ab'[i] ?? '', job)] : []));
  return [table(head, [row('a', a), row('b', b)]), ...attempts].join('\n');
}

function timesOf({ queued, ran, attemptCount }: ComparedJob): string[] {
  return [timeText(queued), timeText(ran), String(attemptCount)];
}

function timeText(time: Duration | undefined): string {
  return time ? span(durationMs(time)) : '';
}

function attemptsText(name: string, { attempts, attemptCount }: ComparedJob): string {
  const lines = attempts.map(({ number, worker, workerName, ran, reason }) =>
    [
      `${name}: attempt ${number} at ${printable(workerName === '' ? worker : workerName)}`,
      ...(ran ? [timeText(ran)] : []),
      ...(reason === '' ? [] : [printable(reason)]),
    ].join(', '),
  );
  const before = attemptCount - attempts.length;
  return [...(before > 0 ? [`${name}: ${before} attempts before`] : []), ...lines].join('\n');
}

function fieldsText(title: string, differences: readonly JobDifference[]): string {
  if (differences.length === 0) return '';
  const rows = differences.map(({ field, pointer, a, b }) => [
    printable(`${field}${pointer}`),
    valueText(a),
    valueText(b),
  ]);
  return `${styled('bold', title)}\n${table(['FIELD', 'A', 'B'], rows)}`;
}

function valueText(value: string | undefined): string {
  if (value === undefined) return 'nothing';
  return printable(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

function codeText(code: CodeComparison | undefined): string {
  if (!code || (code.changes.length === 0 && code.message === '')) return '';
  const title = styled('bold', 'code');
  if (code.message !== '') return `${title}\nnot compared: ${printable(code.message)}`;
  const { changes, addedLines, removedLines } = code;
  const rows = changes.map((one) => [printable(one.path), linesText(one), modeText(one)]);
  const more = code.truncated ? ', and more that is not shown' : '';
  const paths = changes.length === 1 ? '1 path' : `${changes.length} paths`;
  return `${title}\n${table(['PATH', 'LINES', 'MODE'], rows)}\n${paths} differ, +${addedLines} -${removedLines}${more}`;
}

function linesText({ added, removed, uncounted }: CodeChange): string {
  return uncounted === '' ? `+${added ?? 0} -${removed ?? 0}` : printable(uncounted);
}

function modeText({ aMode, bMode }: CodeChange): string {
  if (aMode === '') return `added ${printable(bMode)}`;
  if (bMode === '') return `removed ${printable(aMode)}`;
  return aMode === bMode ? '' : `${printable(aMode)} → ${printable(bMode)}`;
}

function inputsText(inputs: readonly InputComparison[], truncated: boolean): string {
  if (inputs.length === 0) return '';
  const texts = inputs.map(({ pointer, a, b, differences, incomplete, message }) => {
    const lines = [`${printable(pointer)}: ${digestText(a)} → ${digestText(b)}`];
    if (message !== '') lines.push(`not compared: ${printable(message)}`);
    if (differences.length > 0) lines.push(outputDifferences(differences));
    if (incomplete && message === '') lines.push('and more, or what could not be read');
    return lines.join('\n');
  });
  return [styled('bold', 'inputs'), ...texts, ...(truncated ? ['more inputs differ'] : [])].join('\n');
}

function digestText(digest: Digest | undefined): string {
  return digest ? `sha256:${printable(digest.hash.slice(0, 12))}… (${digest.sizeBytes} bytes)` : 'no input';
}

function outputText(output: OutputComparison | undefined): string {
  if (!output || output.outcome === CheckOutcome.SAME) return '';
  const { outcome, differences, incomplete, message } = output;
  const lines = [styled('bold', 'outputs')];
  if (outcome === CheckOutcome.PENDING) lines.push('not both jobs have finished');
  else if (message !== '') lines.push(printable(message));
  if (differences.length > 0) lines.push(outputDifferences(differences));
  if (incomplete && message === '') lines.push('and more, or what could not be read');
  return lines.join('\n');
}
