import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import {
  JobAttemptEndedSchema,
  JobCancelledSchema,
  JobCompletedSchema,
  JobDeletedSchema,
  JobFailedSchema,
  JobJoinedSchema,
  JobLeftSchema,
  JobResumedSchema,
  JobReusedSchema,
  JobStartedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import type { MemoirEvent } from '../../../src/domain/events.js';
import { jobStream, reuseStream } from '../../../src/domain/streams.js';
import { noon, requestOf } from '../../domain/commands.js';

/** An event and its stream. */
export type Happened = { readonly stream: string; readonly event: MemoirEvent };

function often<What extends string>(times: number, ...whats: What[]): What[] {
  return Array.from({ length: times }, () => whats).flat();
}

const op = fc.record({
  what: fc.constantFrom(
    ...often(6, 'start'),
    ...often(4, 'end', 'resume'),
    ...often(5, 'join', 'reuse'),
    ...often(2, 'leave', 'complete'),
    ...often(1, 'fail', 'cancel', 'delete'),
  ),
  job: fc.nat(5),
  who: fc.constantFrom('alice', 'bob', 'carol'),
  name: fc.constantFrom('x', 'y'),
  // Times of several servers go forth and back, over some days.
  at: fc.integer({ min: 0, max: 300_000_000 }),
  machine: fc.constantFrom(undefined, 'small', 'large', 'odd'),
});

type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

const scenes = [
  ['alice', 'weather', 'forecast.py'],
  ['bob', 'weather', 'forecast.py'],
  ['alice', 'climate', 'trend.py'],
  ['carol', 'climate', 'forecast.py'],
  ['bob', 'weather', 'rain.py'],
  ['bob', 'weather', 'forecast.py'],
] as const;

/** Random histories of six jobs, the last of which is a second run: every event stands where servers record it, but for its time. */
export const anyRuns: fc.Arbitrary<readonly Happened[]> = fc
  .array(op, { minLength: 80, maxLength: 160, size: 'max' })
  .map((ops) => [...requests, ...ops.flatMap(happens())]);

const jobs = scenes.map(([owner, repository, script], n) =>
  requestOf({ owner, repository, script, scriptParameters: { n }, ...(n === 5 && { checkOf: 'some job' }) }),
);
const requests = jobs.map((event): Happened => ({ stream: jobStream(event.uuid), event }));

type State = { is: 'queued' | 'running' | 'over'; attempt: number; lost: boolean; wants: Set<string> };

/** Tells what becomes of one thing after the other. */
function happens(): (op: Op) => Happened[] {
  const states = jobs.map((): State => ({ is: 'queued', attempt: 0, lost: false, wants: new Set() }));
  return ({ what, job, who, name, at, machine }) => {
    const state = states[job] as State;
    const { uuid } = jobs[job] as { uuid: string };
    const time: Timestamp = timestampFromMs(noon + at);
    const { attempt } = state;
    const own = (event: MemoirEvent, now: Partial<State> = {}): Happened[] => {
      Object.assign(state, now);
      return [{ stream: jobStream(uuid), event }];
    };
    const unfinished = state.is !== 'over';
    const running = state.is === 'running';
    switch (what) {
      case 'start': {
        if (state.is !== 'queued') return [];
        const offer = machine && { labels: { machine, zone: 'z' } };
        const event = create(JobStartedSchema, { startedAt: time, attempt: attempt + 1, ...(offer && { offer }) });
        return own(event, { is: 'running', attempt: attempt + 1, lost: false });
      }
      case 'end':
        return running
          ? own(create(JobAttemptEndedSchema, { attempt, endedAt: time }), { is: 'queued', lost: true })
          : [];
      case 'resume':
        return state.is === 'queued' && state.lost
          ? own(create(JobResumedSchema, { attempt, resumedAt: time }), { is: 'running', lost: false })
          : [];
      case 'complete':
        return running
          ? own(create(JobCompletedSchema, { attempt, completedAt: time, output: 'o' }), { is: 'over' })
          : [];
      case 'fail':
        return running ? own(create(JobFailedSchema, { attempt, failedAt: time }), { is: 'over' }) : [];
      case 'cancel':
        return unfinished ? own(create(JobCancelledSchema, { cancelledAt: time }), { is: 'over' }) : [];
      case 'delete':
        return unfinished ? [] : own(create(JobDeletedSchema, { deletedAt: time }));
      case 'join': {
        const wish = JSON.stringify([who, name]);
        if (!unfinished || state.wants.has(wish)) return [];
        state.wants.add(wish);
        return own(create(JobJoinedSchema, { uuid, interest: name, principal: who, joinedAt: time }));
      }
      case 'leave':
        if (!unfinished || !state.wants.delete(JSON.stringify([who, name]))) return [];
        return own(create(JobLeftSchema, { interest: name, principal: who, leftAt: time }));
      case 'reuse':
        return [
          { stream: reuseStream(uuid), event: create(JobReusedSchema, { uuid, requestedBy: who, reusedAt: time }) },
        ];
    }
  };
}
