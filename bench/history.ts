import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  JobCompletedSchema,
  JobProgressedSchema,
  JobRequestedSchema,
  JobReusedSchema,
  JobStartedSchema,
} from '../gen/memoir/events/v1/events_pb.js';
import { DecisionSchema, Outcome, Rule } from '../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../gen/memoir/jobs/v1/job_pb.js';
import { computationDigest, jcsDigest, jobUuid } from '../src/domain/computation.js';
import type { MemoirEvent } from '../src/domain/events.js';
import { jobStream, reuseStream } from '../src/domain/streams.js';
import { encodeEvent } from '../src/eventstore/codec.js';
import { type EventStore, metadataJson } from '../src/eventstore/port.js';
import { openSqliteStore } from '../src/eventstore/sqlite/store.js';

/** How many jobs run at a time, so that the events of several stand between those of one. */
const abreast = 64;

/** Appends that wait for the writer at a time. */
const window = 2_000;

/**
 * Writes a log of that many events of a busy server to `path`: each job is requested, started and completed, two of five show
 * progress, three of five are the answer to a later request. Gives the number of jobs.
 */
export async function writeHistory(path: string, events: number): Promise<number> {
  const store = await openSqliteStore(path, Date.now);
  const append = appender(store, events);
  const lives = Array.from({ length: abreast }, () => [] as Step[]);
  let jobs = 0;
  while (append.left() > 0) {
    for (const life of lives) {
      if (life.length === 0) life.push(...lifeOf(jobs++));
      const step = life.shift();
      if (step) await append.add(step);
    }
  }
  await append.done();
  await store.close();
  return jobs;
}

/**
 * Appends the same jobs to a store that may be slow, the events of each one after the other, those of a stream at once; about so many
 * events. Jobs are numbered from `first` on, from which their uuids and those of the events follow.
 */
export async function appendWholeJobs(store: EventStore, events: number, first: number): Promise<void> {
  const prefix = first.toString(16).padStart(8, '0');
  let next = first;
  let count = 0;
  async function append(): Promise<void> {
    while (count < events) {
      const life = lifeOf(next++);
      for (const stream of new Set(life.map((step) => step.stream))) {
        const steps = life.filter((step) => step.stream === stream);
        const encoded = steps.map((step) =>
          newEvent(step, `${prefix}-0000-4000-8000-${String(count++).padStart(12, '0')}`),
        );
        await store.append(stream, 'any', encoded);
      }
    }
  }
  await Promise.all(Array.from({ length: abreast }, append));
}

function newEvent({ event, principal }: Step, id: string) {
  return encodeEvent(id, event, metadataJson({ principal, requestId: id, serverVersion: '0.1.0' }));
}

type Step = { readonly stream: string; readonly event: MemoirEvent; readonly principal: string };

function appender(store: EventStore, events: number) {
  let count = 0;
  let pending: Promise<unknown>[] = [];
  const done = async () => {
    await Promise.all(pending);
    pending = [];
  };
  return {
    left: () => events - count,
    done,
    async add(step: Step) {
      if (count === events) return;
      const id = `00000000-0000-4000-8000-${String(count++).padStart(12, '0')}`;
      pending.push(store.append(step.stream, 'any', [newEvent(step, id)]));
      if (pending.length >= window) await done();
    },
  };
}

function lifeOf(n: number): Step[] {
  const at = (seconds: number) => timestampFromMs(Date.UTC(2026, 0, 1) + n * 250 + seconds * 1_000);
  const sha = (text: string) => `sha256:${createHash('sha256').update(`${text}${n}`).digest('hex')}`;
  const repository = `team-${n % 20}/pipeline`;
  const script = `bin/step-${n % 7}.py`;
  const scriptParameters = {
    sample: `sample-${n}`,
    threshold: n / 8,
    inputs: ['reads.fastq', 'reference.fa'],
    trim: n % 2 === 0,
  };
  const digest = computationDigest({ repository, script, scriptParameters });
  const uuid = jobUuid(digest, 1);
  const scriptVersion = createHash('sha1')
    .update(`${n % 500}`)
    .digest('hex');
  const owner = `user-${n % 50}`;
  const worker = `worker-${n % 30}`;
  const stream = jobStream(uuid);
  const decision = (outcome: Outcome, summary: string, candidates: number) =>
    create(DecisionSchema, {
      outcome,
      summary,
      uuid,
      candidateCount: candidates,
      candidates: Array.from({ length: candidates }, (_, i) => ({
        uuid: i === 0 ? uuid : jobUuid(digest, i + 1),
        state: JobState.COMPLETE,
        ruledOutBy: i === 0 ? Rule.UNSPECIFIED : Rule.NOT_PREFERRED,
        detail: i === 0 ? '' : `${uuid}, which is Complete, is preferred`,
      })),
    });
  const steps: Step[] = [
    {
      stream,
      principal: owner,
      event: create(JobRequestedSchema, {
        uuid,
        owner,
        repository,
        script,
        scriptVersion,
        suppliedScriptVersion: 'main',
        scriptParameters,
        parametersDigest: jcsDigest(scriptParameters),
        computationDigest: digest,
        runNumber: 1,
        runtimeConstraints: { minCoresPerNode: 2, minRamMbPerNode: 4_096 },
        priority: n % 3,
        decision: decision(Outcome.CREATED_NO_MATCH, 'created: no candidate', 0),
        requestedAt: at(0),
      }),
    },
    {
      stream,
      principal: worker,
      event: create(JobStartedSchema, { worker, lease: durationFromMs(60_000), startedAt: at(1) }),
    },
  ];
  if (n % 5 < 2) {
    const progress = {
      lease: durationFromMs(60_000),
      progress: 0.5,
      tasksSummary: { running: 1, done: 1 },
      progressedAt: at(20),
    };
    steps.push({ stream, principal: worker, event: create(JobProgressedSchema, progress) });
  }
  const completed = { output: sha('output'), log: sha('log'), tasksSummary: { done: 2 }, completedAt: at(40) };
  steps.push({ stream, principal: worker, event: create(JobCompletedSchema, completed) });
  if (n % 5 < 3) {
    const reused = {
      uuid,
      requestedBy: owner,
      suppliedScriptVersion: 'v1.2',
      scriptVersion,
      decision: decision(Outcome.REUSED_COMPLETE, `reused ${uuid}, which is Complete`, 2),
      reusedAt: at(90),
    };
    steps.push({ stream: reuseStream(uuid), principal: owner, event: create(JobReusedSchema, reused) });
  }
  return steps;
}
