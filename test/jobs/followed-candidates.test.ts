import test from 'ava';
import * as fc from 'fast-check';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Touched } from '../../projections/read-model/read-model.js';
import type { CandidateFacts } from '../../src/domain/reuse.js';
import { type FollowedModel, followedCandidates } from '../../src/jobs/deciding/candidates/followed-candidates.js';
import { rounds } from '../support/rounds.js';

// Candidates that are kept while others write the store too: whatever is recorded, and whenever the read model has it and tells of it, what
// is given is what the log had at the position that is said.

/** What one event of the log does. */
type Event =
  | { readonly kind: 'request' | 'take'; readonly computation: string }
  | { readonly kind: 'change' | 'answer' | 'log'; readonly computation: string; readonly job: number }
  | { readonly kind: 'lose' };

type State = ReadonlyMap<string, { readonly candidates: readonly CandidateFacts[]; readonly lastRun: number }>;

const computations = ['a', 'b', 'c'];
const none = { candidates: [], lastRun: 0 };

function facts(uuid: string): CandidateFacts {
  return { uuid, owner: '', state: JobState.QUEUED, scriptVersion: '' } as unknown as CandidateFacts;
}

/** The candidates after an event, and what the read model tells of it. */
function after(state: State, event: Event): { state: State; stream: string | undefined; computation?: string } {
  const next = new Map(state);
  if (event.kind === 'lose') {
    for (const [computation, runs] of state) {
      const candidates = runs.candidates.map((one) => ({
        ...one,
        losses: [...(one.losses ?? []), { from: 1, detail: '' }],
      }));
      next.set(computation, { ...runs, candidates });
    }
    return { state: next, stream: 'content-x' };
  }
  const { computation } = event;
  const runs = state.get(computation) ?? none;
  if (event.kind === 'request') {
    const lastRun = runs.lastRun + 1;
    const uuid = `${computation}${lastRun}`;
    next.set(computation, { candidates: [...runs.candidates, facts(uuid)], lastRun });
    return { state: next, stream: `job-${uuid}`, computation };
  }
  if (event.kind === 'take') {
    next.set(computation, { ...runs, lastRun: runs.lastRun + 1 });
    return { state: next, stream: 'log-generation' };
  }
  const uuid = runs.candidates['job' in event ? event.job : 0]?.uuid ?? 'of none';
  if (event.kind === 'answer') return { state, stream: undefined };
  if (event.kind === 'log') return { state, stream: `joblog-${uuid}` };
  const changed = (one: CandidateFacts) => (one.uuid === uuid ? { ...one, output: `${one.output ?? ''}x` } : one);
  next.set(computation, { ...runs, candidates: runs.candidates.map(changed) });
  return { state: next, stream: `job-${uuid}` };
}

/** A log, and a read model whose file may have more than it has told. */
function scene() {
  const states: State[] = [new Map()];
  const told: { stream: string | undefined; computation?: string }[] = [{ stream: undefined }];
  let file = 0;
  let position = 0;
  let live = true;
  let reads = 0;
  let listener: (touched: Touched) => void = () => undefined;
  const readModel = {
    position: () => position,
    onTouched(those: typeof listener) {
      listener = those;
    },
    candidates: {
      runs(computation: string) {
        reads++;
        return { ...(states[file]?.get(computation) ?? none), position: file };
      },
    },
  } as unknown as FollowedModel;
  return {
    readModel,
    states,
    reads: () => reads,
    position: () => position,
    live: () => live,
    record(event: Event) {
      const { state, ...what } = after(states.at(-1) as State, event);
      states.push(state);
      told.push(what);
    },
    /** The file comes to have so many more events. */
    commit(count: number) {
      file = Math.min(states.length - 1, file + count);
    },
    /** The read model tells of what its file has. */
    tell() {
      const batch = told.slice(position + 1, file + 1);
      position = file;
      const any = !live;
      live ||= file === states.length - 1;
      const streams = batch.flatMap(({ stream }) => stream ?? []);
      listener({
        any,
        streams: any ? [] : streams,
        computations: any ? [] : batch.flatMap((one) => one.computation ?? []),
      });
    },
    /** The file is found damaged and made anew. */
    remake() {
      file = 0;
      position = 0;
      live = false;
      listener({ any: true, streams: [], computations: [] });
    },
  };
}

const computation = fc.constantFrom(...computations);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('request', 'take'), computation }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('change', 'answer', 'log'), computation, job: fc.nat({ max: 2 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose') }) },
) as fc.Arbitrary<Event>;
const step = fc.oneof(
  event.map((one) => ['record', one] as const),
  fc.nat({ max: 3 }).map((count) => ['commit', count] as const),
  fc.constant(['tell'] as const),
  { weight: 3, arbitrary: computation.map((one) => ['ask', one] as const) },
  { weight: 1, arbitrary: fc.constant(['remake'] as const) },
);

test('what is given is what the log had at the position that is said, and all that was told', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { readModel, states, ...log } = scene();
      const candidatesOf = followedCandidates(readModel);
      for (const [what, given] of steps) {
        if (what === 'record') log.record(given);
        else if (what === 'commit') log.commit(given);
        else if (what === 'tell') log.tell();
        else if (what === 'remake') log.remake();
        else if (log.live()) {
          const { position, ...runs } = candidatesOf(given);
          t.true(position >= log.position());
          t.deepEqual(runs, states[position]?.get(given) ?? none);
        }
      }
    }),
    { numRuns: rounds(300, 100_000) },
  );
});

test('answers and logs of jobs, and what concerns other computations, have nothing read again', (t) => {
  const { readModel, ...log } = scene();
  const candidatesOf = followedCandidates(readModel);
  const learn = () => {
    log.commit(10);
    log.tell();
  };
  log.record({ kind: 'request', computation: 'a' });
  log.record({ kind: 'request', computation: 'b' });
  learn();
  const first = candidatesOf('a').candidates;
  t.is(log.reads(), 1);
  log.record({ kind: 'answer', computation: 'a', job: 0 });
  log.record({ kind: 'log', computation: 'a', job: 0 });
  log.record({ kind: 'change', computation: 'b', job: 0 });
  log.record({ kind: 'request', computation: 'b' });
  learn();
  t.is(candidatesOf('a').candidates, first, 'the very same, by which decisions are remembered');
  t.is(candidatesOf('a').position, 6);
  t.is(log.reads(), 1);
  log.record({ kind: 'change', computation: 'a', job: 0 });
  learn();
  t.not(candidatesOf('a').candidates, first);
  t.is(log.reads(), 2);
});
