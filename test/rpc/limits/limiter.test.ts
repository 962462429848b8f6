import test from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import { Bucket } from '../../../src/rpc/limits/bucket.js';
import { networkOf, openLimiter } from '../../../src/rpc/limits/limiter.js';
import { openShares, type ShareLimits } from '../../../src/rpc/limits/shares.js';
import { rounds } from '../../support/rounds.js';

const limits: ShareLimits = {
  calls: { perSecond: 10, burst: 5 },
  reports: { perSecond: 10, burst: 3 },
  bytes: { perSecond: 1_000, burst: 1_000 },
  streams: 2,
  lists: 1,
};

function opened(at = 0) {
  const clock = { now: at };
  const unauthenticated = { ...limits, calls: { perSecond: 1, burst: 1 } };
  const edge = { monotonic: () => clock.now, random: () => 0.5 };
  return { clock, limiter: openLimiter({ principals: limits, unauthenticated }, edge) };
}

const ada = { principal: 'ada', address: '192.0.2.1' };

/** Why a call is refused; undefined if it is not. */
function refusal(enter: () => unknown): MemoirError | undefined {
  try {
    enter();
    return undefined;
  } catch (error) {
    if (error instanceof MemoirError) return error;
    throw error;
  }
}

test('a bucket gives no more than its burst and what came since, whatever is asked when', (t) => {
  const rate = fc.record({ perSecond: fc.integer({ min: 1, max: 1_000 }), burst: fc.integer({ min: 1, max: 100 }) });
  const pauses = fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 200 });
  fc.assert(
    fc.property(rate, pauses, (given, waits) => {
      let now = 1_000;
      const bucket = new Bucket(given, now);
      let taken = 0;
      for (const wait of waits) {
        now += wait;
        const left = bucket.take(now);
        if (left === 0) taken += 1;
        // What is said to be there then is there then.
        else if (wait % 2 === 0) {
          now += Math.ceil(left);
          t.is(bucket.take(now), 0);
          taken += 1;
        }
      }
      t.true(taken <= given.burst + ((now - 1_000) / 1_000) * given.perSecond + 1e-6);
    }),
    { numRuns: rounds(100, 20_000) },
  );
});

test('each principal has its own share; the answer names the setting and says when to come again', (t) => {
  const { clock, limiter } = opened();
  for (let i = 0; i < 5; i++) t.is(limiter.enter(ada, 'call'), undefined);
  const error = refusal(() => limiter.enter(ada, 'call'));
  t.like(error, {
    code: 'RESOURCE_EXHAUSTED',
    reason: 'TOO_MANY_CALLS',
    metadata: { setting: 'limits.calls_per_second', limit: '10' },
  });
  t.regex(error?.message ?? '', /"ada" takes more calls than limits.calls_per_second = 10 and limits.calls_burst = 5/);
  // At least 100 ms, and some more so that not all come at once.
  t.is(error?.retryAfterMs, 150);
  t.is(limiter.enter({ ...ada, principal: 'bob' }, 'call'), undefined);
  clock.now += 100;
  t.is(limiter.enter(ada, 'call'), undefined);
  t.truthy(refusal(() => limiter.enter(ada, 'call')));
});

test('reports have a budget of their own, which nothing else takes from', (t) => {
  const { limiter } = opened();
  while (!refusal(() => limiter.enter(ada, 'call')));
  limiter.enter({ ...ada, principal: 'bob' }, 'stream');
  limiter.took(ada, 1_000_000);
  for (let i = 0; i < 3; i++) t.is(limiter.enter(ada, 'report'), undefined);
  t.is(refusal(() => limiter.enter(ada, 'report'))?.reason, 'TOO_MANY_REPORTS');
  t.is(refusal(() => limiter.enter(ada, 'call'))?.reason, 'TOO_MANY_BYTES');
});

test('streams and lists count while they are under way, and what is refused for them takes no call', (t) => {
  const { limiter } = opened();
  const streams = [limiter.enter(ada, 'stream'), limiter.enter(ada, 'stream')];
  for (let i = 0; i < 10; i++) {
    t.like(
      refusal(() => limiter.enter(ada, 'stream')),
      { reason: 'TOO_MANY_STREAMS', metadata: { setting: 'limits.streams', limit: '2' } },
    );
  }
  streams[0]?.();
  t.is(typeof limiter.enter(ada, 'stream'), 'function');
  const list = limiter.enter(ada, 'list');
  t.is(refusal(() => limiter.enter(ada, 'list'))?.reason, 'TOO_MANY_LISTS');
  list?.();
  limiter.enter(ada, 'list');
});

test('bytes slow streams down at once, and calls once more than a second of them is owed', (t) => {
  const { clock, limiter } = opened();
  t.is(limiter.took(ada, 1_000), 0);
  t.is(limiter.took(ada, 500), 500);
  t.is(limiter.enter(ada, 'call'), undefined);
  limiter.took(ada, 1_500);
  t.like(
    refusal(() => limiter.enter(ada, 'call')),
    { reason: 'TOO_MANY_BYTES', retryAfterMs: 1_500 },
  );
  clock.now += 1_000;
  t.is(limiter.enter(ada, 'call'), undefined);
});

test('who proves nobody shares with all of the same address or network', (t) => {
  const { limiter } = opened();
  const from = (address: string) => ({ principal: undefined, address });
  t.is(limiter.enter(from('2001:db8:1:2:3::1'), 'call'), undefined);
  const error = refusal(() => limiter.enter(from('2001:db8:1:2:ffff::9'), 'call'));
  t.is(error?.metadata.setting, 'limits.unauthenticated.calls_per_second');
  t.truthy(refusal(() => limiter.refused('2001:db8:1:2::')));
  limiter.refused('2001:db8:1:3::1');
  limiter.refused('192.0.2.1');
  t.truthy(refusal(() => limiter.enter(from('::ffff:192.0.2.1'), 'call')));
  for (const [address, network] of [
    ['::1', '0:0:0:0::/64'],
    ['FE80::1%eth0', 'fe80:0:0:0::/64'],
    ['2001:0db8::', '2001:db8:0:0::/64'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['::ffff:192.0.2.9', '192.0.2.9'],
    ['', ''],
  ] as const) {
    t.is(networkOf(address), network, address);
  }
});

test('who makes principals without end takes nothing from what is known of others, and no more memory', (t) => {
  const shares = openShares(limits, 100);
  const spent = shares.of('ada', 0);
  while (spent.calls.take(0) === 0);
  // Each takes something, so that none can be forgotten.
  for (let i = 0; i < 10_000; i++) shares.of(`made up ${i}`, 0).calls.take(0);
  t.is(shares.size, 100);
  t.is(shares.of('ada', 0), spent);
  t.not(shares.of('ada', 0).calls.take(0), 0);
  // All that found no room have one share together.
  t.is(shares.of('made up 5000', 0), shares.of('made up 6000', 0));
  // What is as new goes for others, and what is not stays.
  spent.streams = 1;
  for (let i = 0; i < 10_000; i++) shares.of(`later ${i}`, 10_000);
  t.is(shares.size, 100);
  t.is(shares.of('ada', 10_000), spent);
});
