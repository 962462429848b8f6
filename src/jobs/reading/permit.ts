import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { type Access, type Deed, permission } from '../../domain/access.js';
import type { Command, UpdateCommand } from '../../domain/commands.js';
import { MemoirError, quote, unknownRepository } from '../../domain/errors.js';
import { deletedBefore, type JobRecord } from '../../domain/job.js';
import type { Caller } from '../caller.js';

/** The NOT_FOUND for a job that does not exist, was deleted, or may not be read. */
export function jobNotFound(uuid: string, field = 'uuid'): MemoirError {
  return new MemoirError('NOT_FOUND', 'JOB_NOT_FOUND', `there is no job ${quote(uuid)}`, { field });
}

/** The PERMISSION_DENIED for something that the caller may know of, but not do. */
export function denied(caller: Pick<Caller, 'principal'>, what: string): MemoirError {
  return new MemoirError('PERMISSION_DENIED', 'NOT_PERMITTED', `${quote(caller.principal)} may not ${what}`);
}

/** Where whose jobs are is looked up before anything of them is read, and who was answered with one. */
export type JobFacts = {
  readonly jobs: Pick<ReadModel['jobs'], 'facts'>;
  readonly answers?: Pick<ReadModel['answers'], 'wasAnswered'>;
};

/** The uuid of no job: nothing is recorded under it. */
const noJob = '00000000-0000-0000-0000-000000000000';

/**
 * The uuid by which to look a job up for a caller: that of no job where the caller may not know of it. So whatever follows does the
 * same and takes the same time as for a job that does not exist, and nothing of a hidden one is read. A job that the read model
 * does not have yet is checked again by `permitted` when it was read. Who was answered with a job may still withdraw what it wanted of it.
 */
export function uuidFor(access: Access, { jobs, answers }: JobFacts, uuid: string, kind?: Command['kind']): string {
  if (access.readsAll) return uuid;
  const facts = jobs.facts(uuid);
  const answered = kind === 'leave' && answers?.wasAnswered(access.principal, uuid);
  return facts && !answered && permission(access, facts, 'read') !== 'granted' ? noJob : uuid;
}

const deeds: Readonly<Record<Command['kind'], Deed>> = {
  request: 'read',
  start: 'start',
  heartbeat: 'report',
  complete: 'report',
  fail: 'report',
  expire_lease: 'report',
  expire_run: 'report',
  join: 'read',
  leave: 'read',
  cancel: 'steer',
  update: 'steer',
  delete: 'steer',
};

/**
 * The record, if there is one and the caller may carry the command out on it.
 * @throws MemoirError NOT_FOUND if it may not know of the job, PERMISSION_DENIED if it may know but not do that
 */
export function permitted(
  caller: Caller,
  uuid: string,
  record: JobRecord | undefined,
  what: Command | Command['kind'],
  field = 'uuid',
): JobRecord {
  const command = typeof what === 'string' ? undefined : what;
  if (!record || (record.deleted && !(command && deletedBefore(record, command)))) throw jobNotFound(uuid, field);
  const kind = typeof what === 'string' ? what : what.kind;
  const wanted = wants(record, caller.principal);
  // One's own interest is one's own to withdraw, and to say how urgent it is.
  if (wanted && kind === 'leave') return record;
  const own = wanted && command?.kind === 'update' && isOfInterest(command);
  const answer = permission(caller.access, record.job, own ? 'read' : deeds[kind]);
  if (answer === 'hidden') throw jobNotFound(uuid, field);
  if (answer === 'denied') throw denied(caller, `${kind} job ${uuid}`);
  return record;
}

/** Whether a principal wants a job, or wanted it. */
function wants({ interests: { standing, ended } }: JobRecord, principal: string): boolean {
  const own = (one: { readonly principal: string }) => one.principal === principal;
  return standing.some(own) || ended.some(own);
}

/** Whether nothing is changed but the priority of the caller's own interests. */
function isOfInterest({ whose, description, components, labels }: UpdateCommand): boolean {
  return whose !== undefined && description === undefined && components === undefined && labels === undefined;
}

/**
 * The record, if there is one and the caller may read it.
 * @throws MemoirError NOT_FOUND otherwise
 */
export function readable(caller: Caller, uuid: string, record: JobRecord | undefined): JobRecord {
  return permitted(caller, uuid, record, 'request');
}

/** Whether the caller may read a job. */
export function mayRead(access: Access, job: Job): boolean {
  return permission(access, job, 'read') === 'granted';
}

/** @throws MemoirError as for a repository that is not configured, if the caller may not know of it */
export function checkKnows({ access }: Caller, repository: string): void {
  if (!access.knows(repository)) throw unknownRepository(repository);
}

/** @throws MemoirError as `checkKnows`, or PERMISSION_DENIED if the caller may not request jobs of the repository */
export function checkSubmits(caller: Caller, repository: string): void {
  checkKnows(caller, repository);
  if (!caller.access.submits(repository)) throw denied(caller, `request jobs of repository ${quote(repository)}`);
}
