import type { JsonObject } from '@bufbuild/protobuf';
import type { NearRow } from '../../../projections/read-model/near-misses/near-jobs.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { Access } from '../../domain/access.js';
import { type Difference, differencesOf } from '../../domain/near-misses/differences.js';
import { leavesOf, nearKeys } from '../../domain/near-misses/leaves.js';
import type { Repositories } from '../../git/port.js';
import { pace } from '../pace.js';
import { type Apart, commitsApart } from './commits-apart.js';

/** How many of the newest jobs are looked at that share all parameters but one in some way, and of the script whatever they share. */
const looked = { near: 10, script: 100 };

/** Longest parameters that are compared, in characters of JSON. */
const longest = 65_536;

/** Most jobs that are told. */
const mostTold = 5;

/** What is asked for. */
export type NearRequest = {
  readonly repository: string;
  readonly script: string;
  readonly scriptParameters?: JsonObject | undefined;
  /** The commit. */
  readonly scriptVersion: string;
  readonly codeDigest: string;
  readonly dockerImageLocator: string;
  readonly arvadosSdkVersion: string;
};

/** A past job of the same script, and in what it differs. */
export type NearMiss = {
  readonly row: NearRow;
  readonly differences: readonly Difference[];
  /** How far the commit that is asked for is from its own; absent if that is the same, or cannot be told. */
  readonly apart?: Apart;
};

/**
 * The past jobs of the same script that are nearest to a request, of those that somebody may read: by the number of differences, then the newest first, and one of
 * each computation. What differs in one parameter is found however old it is, unless ten newer ones differ there too; of what differs in more
 * the 100 newest jobs of the script are looked at. So the time goes by the number of parameters, not by that of jobs.
 */
export async function nearMisses(
  { nearJobs }: Pick<ReadModel, 'nearJobs'>,
  repositories: Pick<Repositories, 'range'>,
  access: Access,
  request: NearRequest,
): Promise<readonly NearMiss[]> {
  const { repository, script, scriptParameters = {} } = request;
  if (JSON.stringify(scriptParameters).length > longest) return [];
  const asked = { ...request, leaves: leavesOf(scriptParameters) };
  const keys = nearKeys(repository, script, asked.leaves);
  const breathe = pace();
  const misses = new Map<string, NearMiss>();
  const seen = new Set<number>();

  async function look(key: Buffer, most: number): Promise<void> {
    for (const position of nearJobs.newest(key, most)) {
      if (seen.has(position)) continue;
      seen.add(position);
      await breathe();
      const row = nearJobs.job(position, longest);
      if (row?.repository !== repository || row.script !== script || !access.reads(row)) continue;
      const leaves = leavesOf(JSON.parse(row.parameters) as JsonObject);
      const differences = differencesOf({ ...row, leaves }, asked);
      if (differences.length === 0) continue;
      const known = misses.get(row.computationDigest);
      if (!known || compare({ row, differences }, known) < 0) misses.set(row.computationDigest, { row, differences });
    }
  }

  for (const key of keys.near) await look(key, looked.near);
  // Nothing is nearer than what differs in one thing.
  const nearest = [...misses.values()].filter(({ differences }) => differences.length === 1).length;
  if (nearest < mostTold) await look(keys.script, looked.script);
  const told = [...misses.values()].sort(compare).slice(0, mostTold);
  return Promise.all(
    told.map(async (miss) => {
      const apart = await commitsApart(repositories, repository, request.scriptVersion, miss.row.scriptVersion);
      return apart ? { ...miss, apart } : miss;
    }),
  );
}

/** The one with fewer differences comes first, then the newer one. */
function compare(one: NearMiss, other: NearMiss): number {
  return one.differences.length - other.differences.length || other.row.position - one.row.position;
}
