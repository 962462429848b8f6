import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Readers } from '../read-model/readers.js';
import { isOneOf, joined, type Sql, sql } from './sql.js';

/** Fields of a job that are not told to everybody who may read it, so that nobody else may find or order jobs by them either. */
export const secretFields: readonly string[] = ['cancelled_by', 'retry_of', 'check_of'];

/** Who reads secret fields: a principal, and the repositories that it administers. Plain data. */
export type Knowing = { readonly principal: string; readonly administered: readonly string[] };

/** That a secret field of a job is told to its reader. */
export type ToldIf = (field: string) => Sql | undefined;

/** What tells that, as answers to this reader do (`redactJob`); undefined for fields that are told to every reader. */
export function toldIf({ principal, administered }: Knowing, readers: Readers | undefined): ToldIf {
  // Both jobs are of one repository.
  const ofRepository =
    readers && joined('OR', [isOneOf('job.repository', readers.repositories), sql('job.owner = ?', principal)]);
  const known: Readonly<Record<string, Sql | undefined>> = {
    cancelled_by: joined('OR', [
      sql('job.cancelled_by = ?', principal),
      sql('job.cancelled_by = job.owner'),
      isOneOf('job.repository', administered),
    ]),
    retry_of: ofRepository,
    check_of: ofRepository,
  };
  return (field) => known[field];
}

/** A job as its reader may look at it by filters: the same in what is at hand as `toldIf` in rows. */
export function asTold({ principal, administered }: Knowing, readers: Readers | undefined, job: Job): Job {
  const { cancelledBy, owner, repository, retryOf, checkOf } = job;
  const knowsWho = cancelledBy === principal || cancelledBy === owner || administered.includes(repository);
  const knowsOther = !readers || readers.repositories.includes(repository) || owner === principal;
  const others = knowsOther ? { retryOf, checkOf } : { retryOf: '', checkOf: '' };
  return { ...job, cancelledBy: knowsWho ? cancelledBy : '', ...others };
}
