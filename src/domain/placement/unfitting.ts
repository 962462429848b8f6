import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../errors.js';
import { type Offering, requirementsOf, type Unmet, unmetBy } from './requirements.js';

/** Why a job may not be given to whoever makes an offer: every condition that fails. Without an offering nothing is looked at. */
export function unfitting(
  job: Job,
  offering: Offering | undefined,
  interested: () => readonly string[],
): MemoirError | undefined {
  if (!offering) return undefined;
  const unmet = unmetBy(offering.has, requirementsOf(job, job.secrets.length > 0 ? interested() : undefined));
  if (unmet.length === 0) return undefined;
  return new MemoirError(
    'FAILED_PRECONDITION',
    'OFFER_DOES_NOT_FIT',
    `job ${job.uuid} asks for ${unmet.map(unmetText).join(', ')}`,
    { metadata: { uuid: job.uuid } },
  );
}

/** A condition with what there is of it: `64 cores (the offer has 8)`. */
function unmetText({ wanted, offered }: Unmet): string {
  return `${wanted} (the offer has ${offered})`;
}
