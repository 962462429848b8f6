import type { HistoryModel } from '../../projections/history/history-model.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { type Access, permission } from '../domain/access.js';
import type { Position } from '../eventstore/port.js';
import { knowsExclusion } from '../exclusions/permit.js';

/**
 * Makes what tells whether somebody may read the event at a position, without a look at the event: so that the time of an answer tells nothing
 * of what is not in it. Both the read model and the history must have come to it. Where there is no event nothing is hidden.
 */
export function mayRead(
  {
    readModel,
    history,
  }: {
    readonly readModel: Pick<ReadModel, 'jobs' | 'lineage' | 'exclusions'>;
    readonly history: Pick<HistoryModel, 'subjects'>;
  },
  access: Access,
): (position: Position) => boolean {
  const known = new Map<string, boolean>();
  const knows = (repository: string) => {
    const told = known.get(repository) ?? access.knows(repository);
    known.set(repository, told);
    return told;
  };

  /** Jobs of one's own are one's own in whatever repository. */
  function mayReadJob(job: Position): boolean {
    const uuid = readModel.lineage.job(job)?.uuid;
    const facts = uuid === undefined ? undefined : readModel.jobs.facts(uuid);
    return facts !== undefined && permission(access, facts, 'read') === 'granted';
  }

  return (position) => {
    if (access.readsAll) return true;
    const place = history.subjects.placeAt(position);
    if (!place || (place.repository !== '' && knows(place.repository))) return true;
    if (place.job !== null) return mayReadJob(place.job);
    const exclusion = readModel.exclusions.at(position);
    return exclusion !== undefined && knowsExclusion(access, readModel, exclusion);
  };
}
