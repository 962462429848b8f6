import type { UpdateCommand } from '../../domain/commands.js';
import { invalid, quote } from '../../domain/errors.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { checkBounds } from '../deciding/check-bounds.js';
import type { Executed } from '../job-streams.js';
import { checkLength, textLimits } from '../limits.js';
import { denied } from '../reading/permit.js';

/** Whose priority an update sets. */
export type Whose = {
  /** The caller's interest of that name; empty for the only one that it has, or those without a submit_id. */
  readonly interest: string;
  /** True for that of the whole job. */
  readonly forEveryone: boolean;
};

/** @throws MemoirError INVALID_ARGUMENT naming a field that says whose priority is meant where none is, or both */
export function checkWhose({ priority }: UpdateCommand, { interest, forEveryone }: Whose): void {
  checkLength('interest', interest, textLimits.submitId);
  const field = interest !== '' ? 'interest' : forEveryone ? 'for_everyone' : undefined;
  if (field === undefined) return;
  if (priority === undefined) {
    throw invalid(field, 'CONFLICTING_FIELDS', `${field} says whose priority is set, and update_mask does not name it`);
  }
  if (interest !== '' && forEveryone) {
    const both = `interest ${quote(interest)} cannot be given together with for_everyone`;
    throw invalid('interest', 'CONFLICTING_FIELDS', both);
  }
}

/**
 * Changes a job. A priority is that of the caller's interest; who has none, and administers the repository, sets that of the whole job.
 * @throws MemoirError as `checkWhose`, `checkBounds` and `execute`; PERMISSION_DENIED if the whole job is meant by who may not
 */
export async function updateJob(
  { streams }: Pick<JobsContext, 'streams'>,
  caller: Caller,
  uuid: string,
  update: UpdateCommand,
  whose: Whose,
): Promise<Executed> {
  checkWhose(update, whose);
  const command = { ...update, principal: caller.principal };
  if (command.priority === undefined) return streams.execute(caller, uuid, command);
  const { interest, forEveryone } = whose;
  const { job, interests } = await streams.read(caller, uuid);
  const administers = caller.access.administers(job.repository);
  if (forEveryone && !administers) throw denied(caller, `set the priority of job ${uuid} for_everyone`);
  const wanted = interests.standing.some(({ principal }) => principal === caller.principal);
  // Who may not set it at all is told that by what follows.
  if (wanted || caller.access.steers(job))
    checkBounds(caller, { repository: job.repository, priority: command.priority });
  const ofJob = forEveryone || (administers && !wanted && interest === '');
  return streams.execute(caller, uuid, ofJob ? command : { ...command, whose: interest === '' ? {} : { interest } });
}

/**
 * Deletes a finished job. One that others were answered with too is deleted by who administers its repository.
 * @throws MemoirError as `execute`; PERMISSION_DENIED for who may not
 */
export async function deleteJob(
  { streams, written, store, readModel, edge, sharesRuns }: JobsContext,
  caller: Caller,
  uuid: string,
): Promise<Executed> {
  const { principal, access } = caller;
  const record = sharesRuns && !access.administersAll ? await streams.loadFor(caller, uuid) : undefined;
  if (record && access.steers(record.job) && !access.administers(record.job.repository)) {
    // Answers of other servers too.
    await written.catchUp(await store.end());
    const { standing, ended } = record.interests;
    const others = [...standing, ...ended].some((one) => one.principal !== principal);
    if (others || readModel.answers.othersWere(principal, uuid)) {
      throw denied(caller, `delete job ${uuid}, since others were answered with it too`);
    }
  }
  return streams.execute(caller, uuid, { kind: 'delete', principal, now: edge.now() });
}
