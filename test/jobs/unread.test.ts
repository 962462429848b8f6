import { create } from '@bufbuild/protobuf';
import test from 'ava';
import * as fc from 'fast-check';
import { JobRequestedSchema, JobUpdatedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { Touched } from '../../projections/read-model/read-model.js';
import type { MemoirEvent } from '../../src/domain/events.js';
import { systemEdge } from '../../src/edge.js';
import { encodeEvent } from '../../src/eventstore/codec.js';
import { type EventStore, metadataJson, type RecordedEvent } from '../../src/eventstore/port.js';
import { openJobStreams } from '../../src/jobs/job-streams.js';
import type { OwnWrites } from '../../src/jobs/own-writes.js';
import type { JobFacts } from '../../src/jobs/reading/permit.js';
import { rounds } from '../support/rounds.js';

// Jobs that are given without a read of their streams, where others write the store too.

const uuids = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'];
const metadata = metadataJson({ principal: 'p', requestId: 'r', serverVersion: '1' });

/** A log in memory that others write, and a read model whose file may have more than it has told. */
function scene() {
  const log: RecordedEvent[] = [];
  const gone = new Map<string, number>();
  let file = 0;
  let told = 0;
  const noted: string[] = [];
  let reads = 0;
  let listener: (touched: Touched) => void = () => undefined;
  const of = (uuid: string, until: number) => log.slice(0, until).filter(({ stream }) => stream === `job-${uuid}`);

  function record(uuid: string, event: MemoirEvent, id = `e${log.length}`): void {
    const stream = `job-${uuid}`;
    const revision = of(uuid, log.length).length;
    log.push({ ...encodeEvent(id, event, metadata), stream, revision, position: log.length + 1, recordedAt: 0 });
  }

  const store = {
    exclusive: false,
    end: async () => log.length,
    async *readStream(stream: string, from = 0) {
      reads++;
      yield* log.filter((one) => one.stream === stream && one.revision >= from);
    },
  } as unknown as EventStore;
  const facts = { jobs: { facts: () => undefined } } as unknown as JobFacts;
  const readModel = {
    onTouched(those: typeof listener) {
      listener = those;
    },
    jobs: {
      revision: (uuid: string) => of(uuid, file).at(-1)?.revision,
    },
    tombstones: { has: (uuid: string) => (gone.get(uuid) ?? Number.POSITIVE_INFINITY) <= file },
  };
  const streams = openJobStreams(store, systemEdge, 'test', {} as OwnWrites, facts, undefined, {
    logEnd: { within: 250, isBefore: () => true },
    readModel,
    damaged: { noted: (uuid) => noted.includes(uuid) },
  });
  return {
    streams,
    reads: () => reads,
    told: () => told,
    has: (uuid: string) => of(uuid, told),
    isGone: (uuid: string) => (gone.get(uuid) ?? Number.POSITIVE_INFINITY) <= told,
    request: (uuid: string) => record(uuid, create(JobRequestedSchema, { uuid, owner: 'o' })),
    update: (uuid: string) => record(uuid, create(JobUpdatedSchema, { description: `at ${log.length}` })),
    tombstone(uuid: string) {
      log.push({
        ...encodeEvent('t', create(JobUpdatedSchema), ''),
        type: '$streamDeleted',
        stream: `job-${uuid}`,
        revision: 2 ** 63,
        position: log.length + 1,
        recordedAt: 0,
      });
      gone.set(uuid, log.length);
    },
    note: (uuid: string) => void noted.push(uuid),
    commit(count: number) {
      file = Math.min(log.length, file + count);
    },
    tell(any = false) {
      const streams = any ? [] : log.slice(told, file).map(({ stream }) => stream);
      told = file;
      listener({ any, streams, computations: [] });
    },
  };
}

const uuid = fc.constantFrom(...uuids);
const step = fc.oneof(
  uuid.map((one) => ['update', one] as const),
  fc.nat({ max: 3 }).map((count) => ['commit', count] as const),
  fc.boolean().map((any) => ['tell', any] as const),
  { weight: 3, arbitrary: uuid.map((one) => ['ask', one] as const) },
  uuid.map((one) => ['load', one] as const),
  { weight: 1, arbitrary: uuid.map((one) => ['tombstone', one] as const) },
);

test('a job that is given unread has all that the read model has told, and no stream that it knows to be gone', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { streams, ...log } = scene();
      const deleted = new Set<string>();
      for (const one of uuids) log.request(one);
      for (const [what, given] of steps) {
        if (what === 'update' && !deleted.has(given)) log.update(given);
        else if (what === 'commit') log.commit(given);
        else if (what === 'tell') log.tell(given);
        else if (what === 'tombstone' && !deleted.has(given)) {
          deleted.add(given);
          log.tombstone(given);
        } else if (what === 'load' && !deleted.has(given)) await streams.load(given);
        else if (what === 'ask') {
          const unread = streams.unread(given, log.told());
          if (!unread) continue;
          t.false(log.isGone(given));
          const last = log.has(given).at(-1);
          t.true(unread.record.job.revision >= (last?.revision ?? 0));
        }
      }
    }),
    { numRuns: rounds(300, 50_000) },
  );
});

test('one that was compared is given until something is told of it, and not once it was found damaged', async (t) => {
  const [one = ''] = uuids;
  const { streams, ...log } = scene();
  log.request(one);
  t.is(streams.unread(one, 0), undefined, 'it was never read');
  await streams.load(one);
  t.is(streams.unread(one, 0), undefined, 'the read model does not have it');
  log.commit(1);
  log.tell();
  t.is(streams.unread(one, 1)?.record.job.revision, 0);
  log.update(one);
  log.commit(1);
  t.is(streams.unread(one, 1)?.record.job.revision, 0, 'nothing of it was told');
  log.tell();
  t.is(streams.unread(one, 2), undefined);
  await streams.load(one);
  t.is(streams.unread(one, 2)?.record.job.revision, 1);
  log.note(one);
  t.is(streams.unread(one, 2), undefined);
  t.is(log.reads(), 2);
});
