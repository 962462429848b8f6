import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { JobRequested } from '../../../gen/memoir/events/v1/events_pb.js';
import type { MemoirEvent } from '../../../src/domain/events.js';
import type { Happened } from './any-runs.js';

/** Something that counts: what docs/savings.md says, worked out from the whole history at once. */
export type Counted = {
  readonly what: 'answer' | 'join' | 'result' | 'no result' | 'check';
  readonly who: string;
  readonly owner: string;
  readonly repository: string;
  readonly script: string;
  readonly day: string;
  readonly ms: number;
  readonly machine: string | undefined;
};

type Of<Name extends string> = Extract<MemoirEvent, { $typeName: `memoir.events.v1.${Name}` }>;

const named = <Name extends string>({ event }: Happened, name: Name): Of<Name> | undefined =>
  event.$typeName === `memoir.events.v1.${name}` ? (event as Of<Name>) : undefined;

/** All that counts of a history. */
export function naive(history: readonly Happened[]): readonly Counted[] {
  return history.flatMap((one) => {
    const requested = named(one, 'JobRequested');
    return requested ? ofJob(requested, history) : [];
  });
}

function ofJob(requested: JobRequested, all: readonly Happened[]): Counted[] {
  const { owner, repository, script, checkOf } = requested;
  const history = all.filter(({ stream }) => stream.endsWith(requested.uuid));
  const facts = { owner, repository, script };
  const counted: Counted[] = [];
  const completedAt = history.findIndex((one) => named(one, 'JobCompleted'));
  let result: Pick<Counted, 'ms' | 'machine'> | undefined;
  for (const [i, one] of history.entries()) {
    const started = named(one, 'JobStarted');
    if (!started) continue;
    const rest = history.slice(i + 1);
    const next = rest.findIndex((later) => named(later, 'JobStarted'));
    const own = next < 0 ? rest : rest.slice(0, next);
    // An end was none where the attempt went on; what ends the job afterwards is no end of the attempt.
    const goesOn = own.findLastIndex((later) => named(later, 'JobResumed'));
    const last = own.slice(goesOn + 1).find((later) => endOf(later) !== undefined);
    const ended = last && endOf(last);
    if (!last || ended === undefined) continue;
    const ms = Math.max(0, ended - millis(started.startedAt));
    const gave = named(last, 'JobCompleted') !== undefined;
    const machine = started.offer?.labels.machine;
    if (gave) result = { ms, machine };
    const what = checkOf !== '' ? 'check' : gave ? 'result' : 'no result';
    counted.push({ ...facts, what, who: owner, day: day(ended), ms, machine });
  }
  if (!result) return counted;
  for (const [i, one] of history.entries()) {
    const reused = named(one, 'JobReused');
    if (reused && i > completedAt) {
      const at = millis(reused.reusedAt);
      counted.push({ ...facts, ...result, what: 'answer', who: reused.requestedBy, day: day(at) });
    }
    const joined = named(one, 'JobJoined');
    if (!joined) continue;
    const left = history.slice(i + 1).some((later) => {
      const gone = named(later, 'JobLeft');
      return gone?.principal === joined.principal && gone.interest === joined.interest;
    });
    if (left) continue;
    const at = endOf(history[completedAt] as Happened) as number;
    counted.push({ ...facts, ...result, what: 'join', who: joined.principal, day: day(at) });
  }
  return counted;
}

function endOf(one: Happened): number | undefined {
  const time =
    named(one, 'JobAttemptEnded')?.endedAt ??
    named(one, 'JobCompleted')?.completedAt ??
    named(one, 'JobFailed')?.failedAt ??
    named(one, 'JobCancelled')?.cancelledAt;
  return time && millis(time);
}

function millis(time: Parameters<typeof timestampMs>[0] | undefined): number {
  return time ? timestampMs(time) : 0;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
