import { setImmediate as turn } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  ExcludedFromReuseSchema,
  type ReinstatedForReuse,
  ReinstatedForReuseSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { DigestSchema } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { type Exclusion, ExclusionSchema } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import type { ExclusionRow } from '../../projections/read-model/exclusions.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { ExclusionEvent } from '../domain/events.js';
import { type ExclusionTarget, isOfNone } from '../domain/exclusions.js';
import {
  exclusionStream,
  imageExclusionStream,
  outputExclusionStream,
  workerExclusionStream,
} from '../domain/streams.js';
import { decodeEvent } from '../eventstore/codec.js';
import { lastOfStream } from '../eventstore/last-event.js';
import type { Position } from '../eventstore/port.js';
import type { Caller } from '../jobs/caller.js';
import type { HeldContent } from '../jobs/content/held-content.js';
import { decidedAgain } from '../jobs/contention.js';
import type { JobsContext } from '../jobs/context.js';
import { needsSharedRuns } from '../jobs/deciding/needs-shared-runs.js';
import { eventOfCall } from '../jobs/event-of-call.js';
import { keyedLock } from '../jobs/keyed-lock.js';
import { jobNotFound } from '../jobs/reading/permit.js';
import { type Hits, hitsOf } from './hits.js';
import { checkExcludes, checkReinstates, knowsExclusion } from './permit.js';
import type { ExclusionRules } from './rules.js';
import { checkTarget } from './target.js';

/** Jobs that are counted between two looks at the read model. */
const countPage = 500;

/** An order to exclude jobs, checked but for its target. */
export type ExclusionOrder = {
  /** As the client gave it. */
  readonly target: ExclusionTarget;
  readonly cascade: boolean;
  readonly reason: string;
};

/** An exclusion that stands. */
export type Excluded = {
  readonly exclusion: Exclusion;
  /** Whoever has read up to here sees it. */
  readonly position: Position;
};

/** What became of the report that an output is gone. */
export type Reported = {
  /** The exclusion of its jobs; absent where it was recorded of the output itself, which servers kept. */
  readonly exclusion?: Exclusion;
  readonly position: Position;
  /** How many jobs have it. */
  readonly jobCount: number;
};

/** The use cases of exclusions. */
export type Exclusions = {
  /**
   * What an order would exclude; nothing is recorded and the exclusion has no id.
   * @throws MemoirError INVALID_ARGUMENT naming what is wrong of the target; NOT_FOUND if there is no such job; FAILED_PRECONDITION for
   * a worker where log format 4 is not allowed; what the repositories throw
   */
  preview(caller: Caller, order: ExclusionOrder, maxHits: number): Promise<{ exclusion: Exclusion; hits: Hits }>;
  /**
   * Excludes jobs, as soon as it resolves. An order like one of the same principal that stands, with the same target, cascade and
   * reason, is a retry of it: nothing is recorded and the answer is the exclusion that stands. Throws as `preview`.
   */
  exclude(caller: Caller, order: ExclusionOrder, maxHits: number): Promise<Excluded & { readonly hits: Hits }>;
  /**
   * Takes the jobs with an output that is gone out of reuse, once. What servers keep is looked for, and recorded as lost; of any other output
   * the jobs are excluded: if an exclusion for the same cause stands, that one is the answer.
   * @throws MemoirError NOT_FOUND if no job has the output; FAILED_PRECONDITION OUTPUT_HELD if servers keep it and have all of it;
   * UNAVAILABLE if that cannot be told
   */
  reportLost(caller: Caller, output: string, reason: string): Promise<Reported>;
  /**
   * Lifts an exclusion.
   * @throws MemoirError NOT_FOUND if there is none with the id; FAILED_PRECONDITION if it was lifted before,
   * by another or for another reason
   */
  reinstate(caller: Caller, id: string, reason: string): Promise<Position>;
};

/** The stream of the exclusions of what belongs to no repository. */
function streamOfNone({ case: kind }: ExclusionTarget): string {
  if (kind === 'worker') return workerExclusionStream;
  return kind === 'dockerImageLocator' ? imageExclusionStream : outputExclusionStream;
}

/** Makes the use cases. */
export function exclusionUseCases(
  context: JobsContext,
  rules: ExclusionRules,
  held?: Pick<HeldContent, 'inspect' | 'lose'>,
): Exclusions {
  const { store, readModel, written, edge } = context;
  const serially = keyedLock();

  /** The exclusion that an order is for, with its target resolved, and the stream where it belongs. */
  async function draft(caller: Caller, order: ExclusionOrder, id: string) {
    await checkExcludes(caller, order.target, context.streams.loadFor);
    if (order.target.case === 'worker' && !context.sharesRuns) {
      throw needsSharedRuns('an exclusion of what a worker ran', { field: 'worker' });
    }
    const target = await checkTarget(
      { ...context.repositories, ...context.repositories.askedBy(caller) },
      order.target,
    );
    const exclusion = create(ExclusionSchema, {
      id,
      target,
      cascade: order.cascade,
      reason: order.reason,
      excludedBy: caller.principal,
      excludedAt: timestampFromMs(edge.now()),
    });
    return { exclusion, stream: await streamOf(target) };
  }

  /** Has an exclusion of a tree name the manifest of the same files too, as far as a job tells of both. */
  function nameOtherAddress(exclusion: Exclusion): void {
    const { target } = exclusion;
    if (target.case !== 'output' || !context.sharesRuns) return;
    const { lineage } = readModel;
    const rows = lineage.givers(target.value, 0, countPage).map((position) => lineage.job(position));
    exclusion.outputV1 = rows.find((row) => row?.output === target.value && row.output_v1 !== '')?.output_v1 ?? '';
  }

  async function streamOf(target: ExclusionTarget): Promise<string> {
    switch (target.case) {
      case 'jobUuid': {
        const record = await context.streams.load(target.value);
        if (!record || record.deleted) throw jobNotFound(target.value, 'job_uuid');
        return exclusionStream(record.job.repository);
      }
      case 'commit':
      case 'commitRange':
        return exclusionStream(target.value.repository);
      default:
        return streamOfNone(target);
    }
  }

  /** Brings reads up to the end of the log, so that jobs and exclusions of other servers count. */
  async function seeEverything(): Promise<void> {
    await written.catchUp(await store.end());
    await rules.current();
  }

  /**
   * Appends what `decide` wants of a stream that the read model knows to its end; or gives what it found there. So that no two
   * servers decide by the same state.
   */
  async function append<T>(caller: Caller, stream: string, decide: () => ExclusionEvent | { found: T }) {
    const attempt = async () => {
      const last = await lastOfStream(store, stream);
      if (last) await written.catchUp(last.position);
      await rules.current();
      const wanted = decide();
      if ('found' in wanted) return { found: wanted.found, position: await store.end() };
      const encoded = eventOfCall(context, caller, wanted);
      const { position } = await store.append(stream, last?.revision ?? 'no_stream', [encoded]);
      rules.recorded(position);
      return { position };
    };
    return serially(stream, () => decidedAgain('others order exclusions', attempt));
  }

  /** The exclusion that stands and of which an order like this one is a retry. */
  function standingLike(wanted: Exclusion): Exclusion | undefined {
    for (const { id } of rules.alike(wanted)) {
      const { exclusion } = readModel.exclusions.get(id) ?? {};
      if (!exclusion || exclusion.outputLost !== wanted.outputLost) continue;
      if (wanted.outputLost) return exclusion;
      const same = exclusion.cascade === wanted.cascade && exclusion.reason === wanted.reason;
      if (same && exclusion.excludedBy === wanted.excludedBy) return exclusion;
    }
    return undefined;
  }

  async function order(caller: Caller, stream: string, exclusion: Exclusion): Promise<Excluded> {
    const { found, position } = await append(caller, stream, () => {
      const found = standingLike(exclusion);
      return found ? { found } : create(ExcludedFromReuseSchema, { exclusion });
    });
    return { exclusion: found ?? exclusion, position };
  }

  /** Records that an output which servers keep is lost, if it is. @returns whether they keep it */
  async function lostOfOurs(caller: Caller, output: string, message: string): Promise<boolean> {
    const row = held && readModel.content.ofAddress(output);
    if (!row) return false;
    const { hash, size, kind } = row;
    if (readModel.content.lostBy(hash).length > 0) return true;
    const lost = await held.inspect(create(DigestSchema, { hash, sizeBytes: BigInt(size), kind }));
    if (!lost) {
      throw new MemoirError('FAILED_PRECONDITION', 'OUTPUT_HELD', `all of the output ${quote(output)} is kept here`, {
        field: 'output',
      });
    }
    await held.lose(caller, { ...lost, message });
    return true;
  }

  return {
    async preview(caller, wanted, maxHits) {
      const { exclusion } = await draft(caller, wanted, '');
      await seeEverything();
      nameOtherAddress(exclusion);
      const trace = await rules.trace(exclusion);
      return { exclusion, hits: await hitsOf(readModel, rules, trace, maxHits, caller.access) };
    },

    async exclude(caller, wanted, maxHits) {
      const { exclusion, stream } = await draft(caller, wanted, edge.uuid());
      await seeEverything();
      nameOtherAddress(exclusion);
      // Traced before it stands, so that no request has to wait for that.
      const trace = await rules.trace(exclusion);
      const except = standingLike(exclusion) ?? exclusion;
      const hits = await hitsOf(readModel, rules, { ...trace, exclusion: except }, maxHits, caller.access);
      const unexpect = rules.expect(trace);
      try {
        const excluded = await order(caller, stream, exclusion);
        if (excluded.exclusion !== exclusion) unexpect();
        return { ...excluded, hits };
      } catch (error) {
        unexpect();
        throw error;
      }
    },

    async reportLost(caller, output, reason) {
      await checkExcludes(caller, { case: 'output', value: output }, context.streams.loadFor);
      await seeEverything();
      let jobCount = 0;
      for (let after = 0; ; ) {
        const jobs = readModel.lineage.liveGivers(output, after, countPage);
        jobCount += jobs.length;
        if (jobs.length < countPage) break;
        after = jobs.at(-1) as number;
        await turn();
      }
      if (jobCount === 0) {
        throw new MemoirError('NOT_FOUND', 'OUTPUT_NOT_FOUND', `no job has the output ${quote(output)}`, {
          field: 'output',
        });
      }
      const kept = await lostOfOurs(caller, output, reason);
      if (kept) return { position: await store.end(), jobCount };
      const { exclusion } = await draft(
        caller,
        { target: { case: 'output', value: output }, cascade: false, reason },
        edge.uuid(),
      );
      exclusion.outputLost = true;
      return { ...(await order(caller, outputExclusionStream, exclusion)), jobCount };
    },

    async reinstate(caller, id, reason) {
      await seeEverything();
      const row = readModel.exclusions.get(id);
      if (!row || !knowsExclusion(caller.access, readModel, row))
        throw new MemoirError('NOT_FOUND', 'EXCLUSION_NOT_FOUND', `there is no exclusion ${id}`, { field: 'id' });
      await checkReinstates(caller, row, context.streams.loadFor);
      const { target } = row.exclusion;
      const stream = isOfNone(target) ? streamOfNone(target) : exclusionStream(row.repository);
      const { found, position } = await append<ExclusionRow>(caller, stream, () => {
        const now = readModel.exclusions.get(id) ?? row;
        if (now.reinstated) return { found: now };
        return create(ReinstatedForReuseSchema, {
          exclusionId: id,
          reason,
          reinstatedBy: caller.principal,
          reinstatedAt: timestampFromMs(edge.now()),
        });
      });
      if (found && !(await liftedSo(found, caller.principal, reason))) throw liftedBefore(id, found.reinstatedReason);
      return position;
    },
  };

  /** Whether an exclusion was lifted by this principal, for this reason: whoever lifts it so again repeats a call. */
  async function liftedSo({ changed }: ExclusionRow, principal: string, reason: string): Promise<boolean> {
    const recorded = await store.eventAt(changed);
    if (recorded?.type !== 'ReinstatedForReuse') return false;
    const lifted = decodeEvent(recorded) as ReinstatedForReuse;
    return lifted.reinstatedBy === principal && lifted.reason === reason;
  }
}

function liftedBefore(id: string, reason: string): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'EXCLUSION_LIFTED',
    `exclusion ${id} was lifted before: ${quote(reason)}`,
    {
      metadata: { id },
    },
  );
}
