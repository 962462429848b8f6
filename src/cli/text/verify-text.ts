import type { Damage } from '../../history/verify/damage.js';
import type { VerifiedLog } from '../../history/verify/verify-log.js';
import { printable } from './printable.js';
import { eventCount } from './progress-line.js';
import { styled } from './style.js';

/** Most lines of damage for people; JSON has all. */
const mostLines = 100;

/** What the verification of a log found, as people read it. */
export function verifiedText(found: VerifiedLog): string {
  const { events, end, root, provenEvents, damage } = found;
  const open = events - provenEvents;
  return [
    `${eventCount(events)}, up to position ${end}`,
    `root ${root.toString('base64')}`,
    ...checkpointLines(found),
    `${keptText[found.kept]}${found.keptProblem === '' ? '' : `: ${printable(found.keptProblem)}`}`,
    damage.length > 0
      ? styled('red', `damaged: ${damage.length} finding${damage.length === 1 ? '' : 's'}`)
      : provenEvents > 0
        ? styled('green', `proved: ${provenText(provenEvents)}`)
        : styled('yellow', 'nothing is proved: no checkpoint by a key that was given is of this log'),
    ...(damage.length === 0 && provenEvents > 0 && open > 0
      ? [`not proved by any checkpoint: the ${eventCount(open)} after them`]
      : []),
    ...damage.slice(0, mostLines).map((one) => `  ${damageText(one)}`),
    ...(damage.length > mostLines ? [`  and ${damage.length - mostLines} more; --json prints all`] : []),
  ].join('\n');
}

const provenText = (events: number) =>
  events === 1 ? 'the first event is what it was' : `the first ${eventCount(events)} are what they were`;

const keptText: Readonly<Record<VerifiedLog['kept'], string>> = {
  none: 'there is no kept tree to compare with',
  agrees: 'the kept tree agrees with the log',
  differs: 'the kept tree differs from the log',
  wrong:
    'the kept tree is not that of the log, which a checkpoint proves: remove history.sqlite, the server makes it anew',
  unusable: 'the kept tree cannot be used',
};

function checkpointLines({ checkpoints }: VerifiedLog): string[] {
  const holding = checkpoints.filter(({ verdict, trusted }) => verdict === 'holds' && trusted);
  const newest = holding.at(-1);
  const lines = newest
    ? [
        `${holding.length} checkpoint${holding.length === 1 ? ' holds' : 's hold'}, the newest of ${eventCount(newest.size)}`,
      ]
    : [];
  const words = {
    broken: 'does not hold',
    beyond: 'is of more events than there are',
    unchecked: 'could not be checked',
  };
  for (const { verdict, size, source, origin, trusted } of checkpoints.slice(0, mostLines)) {
    const name = `the checkpoint of ${printable(origin)} at ${eventCount(size)} (${printable(source)})`;
    if (verdict !== 'holds') lines.push(`${name} ${words[verdict]}`);
    else if (!trusted) lines.push(`${name} is by a key that was not given: it proves nothing`);
  }
  return lines;
}

/** One damage as a line. */
export function damageText({ kind, from, to, count, movedTo, event, proven, detail }: Damage): string {
  const where = from === to ? `position ${from}` : `positions ${from} to ${to}`;
  const moved = movedTo === undefined ? '' : `, which is now at ${movedTo}`;
  const many = count > 1 ? ` (${eventCount(count)})` : '';
  const what = event ? `: event ${event.revision} of stream ${printable(event.stream)} (${printable(event.type)})` : '';
  const why = detail === '' ? '' : `; ${printable(detail)}`;
  const doubt = proven ? '' : '; by the kept tree alone, which no checkpoint confirms';
  return `${styled('bold', kind)} ${where}${moved}${many}${what}${why}${doubt}`;
}

/** What the verification of a log found, as one line of JSON. */
export function verifiedJson(found: VerifiedLog): string {
  const { events, end, root, provenEvents, kept, keptProblem, checkpoints, damage } = found;
  return JSON.stringify({
    events,
    end,
    root: root.toString('base64'),
    proven_events: provenEvents,
    kept_tree: kept,
    ...(keptProblem !== '' && { kept_tree_problem: keptProblem }),
    checkpoints: checkpoints.map(({ root: ofIt, ...one }) => ({ ...one, root: Buffer.from(ofIt).toString('base64') })),
    damage: damage.map(({ movedTo, ...one }) => ({ ...one, ...(movedTo !== undefined && { moved_to: movedTo }) })),
  });
}
