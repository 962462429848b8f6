import { setImmediate as turn } from 'node:timers/promises';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { EventStore } from '../../eventstore/port.js';

/** Jobs that are looked at between two turns of others. */
const page = 2_000;

/** How long is waited for what the log has now, in milliseconds. */
const patience = 10_000;

/**
 * Full hashes of the commits of all jobs of a repository that the log has now, deleted ones among them; undefined if not all of the log can be read now.
 */
export async function commitsOfJobs(
  { store, readModel }: { readonly store: Pick<EventStore, 'end'>; readonly readModel: ReadModel },
  repository: string,
): Promise<readonly string[] | undefined> {
  try {
    await readModel.waitFor(await store.end(), AbortSignal.timeout(patience));
  } catch {
    return undefined;
  }
  const commits = new Set<string>();
  for (let after = 0; ; await turn()) {
    const jobs = readModel.jobs.commits(after, page);
    for (const job of jobs) if (job.repository === repository) commits.add(job.commit);
    const last = jobs.at(-1);
    if (!last || jobs.length < page) return [...commits];
    after = last.position;
  }
}
