import fc from 'fast-check';
import { type Waiting, waitingClaims } from '../../src/jobs/running/waiting-claims.js';
import { test } from '../support/serial.js';

/** A job of a kind that some claims fit. */
type Job = { readonly id: number; readonly kind: number };

/** Everything that may come next has done so: promises that are settled have gone on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A queue in memory, and claims that go through it as those of a server do, each step when the test says so. */
function scene() {
  const queued: Job[] = [];
  const taken = new Set<Job>();
  const waiting = waitingClaims<Job>((job) => queued.includes(job) && !taken.has(job));
  const claims: Claim[] = [];

  type Claim = {
    readonly kinds: readonly number[];
    state: 'looking' | 'taking' | 'asleep' | 'ended';
    job: Job | undefined;
    readonly end: AbortController;
    answer: ((written: boolean) => void) | undefined;
  };

  /** The order of the queue is that of the ids. */
  const first = (kinds: readonly number[]) =>
    queued.filter((job) => kinds.includes(job.kind) && !taken.has(job)).sort((a, b) => a.id - b.id)[0];

  async function run(claim: Claim, waits: Waiting): Promise<void> {
    try {
      for (;;) {
        claim.state = 'looking';
        const job = claim.end.signal.aborted ? undefined : first(claim.kinds);
        if (job) {
          taken.add(job);
          waits.takes();
          claim.state = 'taking';
          claim.job = job;
          const written = await new Promise<boolean>((resolve) => {
            claim.answer = resolve;
          });
          claim.answer = undefined;
          if (written) queued.splice(queued.indexOf(job), 1);
          taken.delete(job);
          if (queued.includes(job)) waiting.available([job]);
          if (written) return;
          // The store failed: the call ends with an error.
          throw new Error('not written');
        }
        if (claim.end.signal.aborted) return;
        claim.state = 'asleep';
        await waits.sleep(claim.end.signal, 1_000_000);
      }
    } finally {
      claim.state = 'ended';
      waits.leave();
    }
  }

  return {
    waiting,
    queued,
    claims,
    begin(kinds: readonly number[]) {
      const claim: Claim = { kinds, state: 'looking', job: undefined, end: new AbortController(), answer: undefined };
      claims.push(claim);
      run(
        claim,
        waiting.enter(JSON.stringify(kinds), ({ kind }) => kinds.includes(kind)),
      ).catch(() => undefined);
    },
    /** Jobs that could be had while claims sleep that fit them. */
    forgotten: () =>
      queued.filter(
        (job) => !taken.has(job) && claims.some(({ state, kinds }) => state === 'asleep' && kinds.includes(job.kind)),
      ),
    stop: () => {
      for (const { end, answer } of claims) {
        end.abort();
        answer?.(true);
      }
    },
  };
}

const kinds = fc.subarray([0, 1, 2], { minLength: 1 });
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('queue' as const),
      kinds: fc.array(fc.nat(2), { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('claim' as const), kinds }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('written' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('not written' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('call ends' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('job goes' as const), which: fc.nat(20) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('time passes' as const) }) },
);

test('in every interleaving no claim sleeps while a job that fits it can be had', async (t) => {
  const rounds = Number(process.env.MEMOIR_ROUNDS ?? 1);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { waiting, queued, claims, begin, forgotten, stop } = scene();
      let id = 0;
      const open = (state: string) => claims.filter((claim) => claim.state === state);
      const pick = <T>(from: readonly T[], which: number): T | undefined => from[which % Math.max(1, from.length)];
      for (const one of steps) {
        if (one.do === 'queue') {
          const jobs = one.kinds.map((kind) => ({ id: id++, kind }));
          queued.push(...jobs);
          waiting.available(jobs);
        } else if (one.do === 'claim') begin(one.kinds);
        else if (one.do === 'written') pick(open('taking'), one.which)?.answer?.(true);
        else if (one.do === 'not written') pick(open('taking'), one.which)?.answer?.(false);
        else if (one.do === 'call ends') pick([...open('asleep'), ...open('taking')], one.which)?.end.abort();
        else if (one.do === 'job goes') {
          const free = queued.filter((job) => !claims.some((claim) => claim.state === 'taking' && claim.job === job));
          const gone = pick(free, one.which);
          if (gone) queued.splice(queued.indexOf(gone), 1);
        } else await settled();
      }
      await settled();
      t.deepEqual(forgotten(), []);
      // Those that are still being taken are given in the end, or come back to the others.
      for (let open = claims.find(({ answer }) => answer); open; open = claims.find(({ answer }) => answer)) {
        open.answer?.(claims.indexOf(open) % 2 === 0);
        await settled();
        t.deepEqual(forgotten(), []);
      }
      stop();
      await settled();
      t.false(waiting.anyAsleep());
    }),
    { numRuns: 300 * rounds },
  );
});

test('a job wakes one claim that fits, the one that has waited longest', async (t) => {
  const looked: string[] = [];
  const waiting = waitingClaims<Job>(() => true);
  const end = new AbortController();
  const sleeper = async (name: string, kind: number) => {
    const waits = waiting.enter(String(kind), (job) => job.kind === kind);
    await waits.sleep(end.signal, 1_000_000);
    if (!end.signal.aborted) looked.push(name);
    return waits;
  };
  const all = [sleeper('other', 1), sleeper('first', 0), sleeper('second', 0)];
  await settled();
  waiting.available([{ id: 1, kind: 0 }]);
  await settled();
  t.deepEqual(looked, ['first']);
  // It ends without having taken the job: the next one is told.
  (await all[1])?.leave();
  await settled();
  t.deepEqual(looked, ['first', 'second']);
  waiting.availableToAll();
  await settled();
  t.deepEqual(looked, ['first', 'second', 'other']);
  end.abort();
  await Promise.all(all);
});

test('a job wakes the claim that it suits well, else the one that it suits else, and none that it does not', async (t) => {
  const waiting = waitingClaims<string>(() => true);
  const never = new AbortController().signal;
  const woken: string[] = [];
  const claims = (['no', 'else', 'well'] as const).map((how) => {
    const claim = waiting.enter(
      'alike',
      () => true,
      (job) => (job === 'plain' ? 'well' : how),
    );
    void claim.sleep(never, 60_000).then(() => woken.push(how));
    return claim;
  });
  waiting.available(['special']);
  await settled();
  t.deepEqual(woken, ['well']);
  // What one did not take is handed to the next.
  claims[2]?.leave();
  await settled();
  t.deepEqual(woken, ['well', 'else']);
  claims[1]?.leave();
  await settled();
  t.deepEqual(woken, ['well', 'else']);
  waiting.available(['plain']);
  await settled();
  t.deepEqual(woken, ['well', 'else', 'no']);
});
