import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  DrainWorkerResponseSchema,
  ListPausesResponseSchema,
  ListWorkersResponseSchema,
  PauseQueueResponseSchema,
  type PauseSchema,
  ResumeQueueResponseSchema,
  UndrainWorkerResponseSchema,
  type WorkerSchema,
  type WorkersService,
} from '../../../gen/memoir/workers/v1/workers_service_pb.js';
import type { PauseRow, WorkerRow, WorkersCursor } from '../../../projections/read-model/workers.js';
import { type Access, permission } from '../../domain/access.js';
import { invalid, quote } from '../../domain/errors.js';
import { markedToken, unmarkedToken } from '../../domain/generation.js';
import { toldOffer } from '../../domain/placement/recorded-offer.js';
import { repositoryGlobs } from '../../domain/repositories/repository-glob.js';
import { checkDuration } from '../../jobs/check-duration.js';
import type { JobsContext } from '../../jobs/context.js';
import { checkLength, checkRequired, textLimits } from '../../jobs/limits.js';
import { steerWorkers } from '../../jobs/workers/steer-workers.js';
import type { Implementation } from '../service.js';
import { checkPageSize, seeOwn, seeToken, tokenOf } from '../tokens.js';

/** How long ago workers were seen that are listed unless the caller says otherwise, in milliseconds. */
const seenWithin = 24 * 3_600_000;

/** Most jobs of one worker that are told. */
const mostJobs = 100;

/** memoir.workers.v1.WorkersService. */
export function workersService(context: JobsContext): Implementation<typeof WorkersService> {
  const { store, readModel, repositories, written, edge } = context;
  const steer = steerWorkers(context);

  function told(access: Access, row: WorkerRow): MessageInitShape<typeof WorkerSchema> {
    const { seenAt, drainedAt, offer } = row;
    const running = readModel.workers.jobsOf(row, mostJobs).flatMap(({ uuid, startedAt }) => {
      const facts = readModel.jobs.facts(uuid);
      if (!facts || permission(access, facts, 'read') !== 'granted') return [];
      return [{ uuid, repository: facts.repository, startedAt: timestampFromMs(startedAt) }];
    });
    const kept = context.reservations.jobOf(row) ?? '';
    const keptJob = readModel.jobs.facts(kept);
    return {
      reservedFor: keptJob && permission(access, keptJob, 'read') === 'granted' ? kept : '',
      principal: row.principal,
      workerName: row.workerName,
      host: row.host,
      version: row.version,
      repositories: row.repositories.filter((name) => access.readsAll || access.knows(name)),
      running,
      drained: row.drained,
      drainReason: row.drainReason,
      drainedBy: row.drainedBy,
      ...(offer && { offer: access.administersAll ? offer : toldOffer(offer) }),
      ...(seenAt > 0 && { seenAt: timestampFromMs(seenAt) }),
      ...(drainedAt !== undefined && { drainedAt: timestampFromMs(drainedAt) }),
    };
  }

  return {
    async listWorkers(request, call) {
      const limit = checkPageSize(request.pageSize);
      const within = request.seenWithin
        ? checkDuration('seen_within', request.seenWithin, { least: 0, most: Number.POSITIVE_INFINITY })
        : seenWithin;
      let cursor = readCursor(unmarkedToken(readModel.generation(), 'page_token', request.pageToken));
      await seeToken(request.consistencyToken, store, readModel, call);
      await seeOwn(written, readModel, call);
      const { access } = call.caller;
      // Those that may not be told of are passed over, at most so many for a page.
      const since = Math.max(0, edge.now() - within);
      const rows = readModel.workers.page(since, cursor, limit + 1);
      const more = rows.length > limit;
      const page = rows.slice(0, limit);
      cursor = more ? page.at(-1) : undefined;
      return create(ListWorkersResponseSchema, {
        workers: page.filter((row) => mayKnow(access, row)).map((row) => told(access, row)),
        nextPageToken: cursor ? markedToken(readModel.generation(), cursorText(cursor)) : '',
      });
    },

    async drainWorker({ principal, workerName, reason }, { caller }) {
      checkWorker(principal, workerName);
      checkLength('reason', reason, textLimits.reason);
      const { what, position } = await steer.drain(caller, { principal, workerName }, reason);
      const consistencyToken = tokenOf(readModel, position);
      return create(DrainWorkerResponseSchema, { worker: told(caller.access, what), consistencyToken });
    },

    async undrainWorker({ principal, workerName }, { caller }) {
      checkWorker(principal, workerName);
      const { what, position } = await steer.undrain(caller, { principal, workerName });
      const consistencyToken = tokenOf(readModel, position);
      return create(UndrainWorkerResponseSchema, { worker: told(caller.access, what), consistencyToken });
    },

    async pauseQueue({ repositories: glob, reason }, { caller }) {
      checkRequired('repositories', glob, textLimits.repository);
      checkLength('reason', reason, textLimits.reason);
      const { what, position } = await steer.pause(caller, glob, reason);
      return create(PauseQueueResponseSchema, { pause: toPause(what), consistencyToken: tokenOf(readModel, position) });
    },

    async resumeQueue({ repositories: glob }, { caller }) {
      checkRequired('repositories', glob, textLimits.repository);
      const { position } = await steer.resume(caller, glob);
      return create(ResumeQueueResponseSchema, { consistencyToken: tokenOf(readModel, position) });
    },

    async listPauses({ consistencyToken }, call) {
      await seeToken(consistencyToken, store, readModel, call);
      await seeOwn(written, readModel, call);
      const { access } = call.caller;
      const known = access.readsAll ? [] : repositories.names().filter((name) => access.knows(name));
      const told = readModel.workers.pauses().filter((pause) => access.readsAll || takesInAny(pause, known));
      return create(ListPausesResponseSchema, { pauses: told.map(toPause) });
    },
  };
}

/** Whether somebody may know of a worker: by reading or administering all, or as its principal, or by a repository that it names. */
function mayKnow(access: Access, { principal, repositories }: WorkerRow): boolean {
  if (access.readsAll || access.administersAll || access.principal === principal) return true;
  return repositories.some((name) => access.knows(name));
}

function takesInAny({ repositories }: PauseRow, names: readonly string[]): boolean {
  const takesIn = repositoryGlobs([repositories]);
  return takesIn !== undefined && names.some(takesIn);
}

function toPause({ repositories, reason, pausedBy, pausedAt }: PauseRow): MessageInitShape<typeof PauseSchema> {
  return { repositories, reason, pausedBy, pausedAt: timestampFromMs(pausedAt) };
}

function checkWorker(principal: string, workerName: string): void {
  checkRequired('principal', principal, textLimits.workerName);
  checkRequired('worker_name', workerName, textLimits.workerName);
}

function cursorText({ seenAt, principal, workerName }: WorkersCursor): string {
  return Buffer.from(JSON.stringify([seenAt, principal, workerName])).toString('base64url');
}

/** @throws MemoirError INVALID_ARGUMENT if the text was not given by this list */
function readCursor(token: string): WorkersCursor | undefined {
  if (token === '') return undefined;
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown;
    if (Array.isArray(value) && value.length === 3) {
      const [seenAt, principal, workerName] = value as unknown[];
      if (Number.isSafeInteger(seenAt) && typeof principal === 'string' && typeof workerName === 'string') {
        return { seenAt: seenAt as number, principal, workerName };
      }
    }
  } catch {
    // Said below.
  }
  throw invalid('page_token', 'BAD_TOKEN', `page_token ${quote(token)} was not given by this list`);
}
