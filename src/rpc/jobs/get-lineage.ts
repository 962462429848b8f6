import { create } from '@bufbuild/protobuf';
import {
  type GetLineageRequest,
  type GetLineageResponse,
  GetLineageResponseSchema,
  LineageDirection,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { permission } from '../../domain/access.js';
import { invalid } from '../../domain/errors.js';
import type { Caller } from '../../jobs/caller.js';
import type { JobsContext } from '../../jobs/context.js';
import { type LineageOptions, lineageOf } from '../../jobs/reading/lineage-of.js';
import { jobNotFound, uuidFor } from '../../jobs/reading/permit.js';

/** Steps and jobs unless asked for, and at most. */
const depth = { usual: 10, most: 100 };
const jobs = { usual: 200, most: 1_000 };

/** @throws MemoirError INVALID_ARGUMENT naming a number that is out of range, or a direction that is none */
export function lineageOptions({ direction, maxDepth, maxJobs }: GetLineageRequest): LineageOptions {
  if (LineageDirection[direction] === undefined) {
    throw invalid('direction', 'UNKNOWN_VALUE', `direction ${direction} is none of UP (1), DOWN (2), both (0)`);
  }
  for (const [field, value, { most }] of [
    ['max_depth', maxDepth, depth],
    ['max_jobs', maxJobs, jobs],
  ] as const) {
    if (value > most) throw invalid(field, 'OUT_OF_RANGE', `${field} ${value} is more than ${most}`);
  }
  return {
    up: direction !== LineageDirection.DOWN,
    down: direction !== LineageDirection.UP,
    maxDepth: maxDepth || depth.usual,
    maxJobs: maxJobs || jobs.usual,
  };
}

/** GetLineage, of a uuid that is one. @throws MemoirError NOT_FOUND */
export async function getLineage(
  { readModel }: Pick<JobsContext, 'readModel'>,
  caller: Caller,
  uuid: string,
  options: LineageOptions,
): Promise<GetLineageResponse> {
  const visible = uuidFor(caller.access, readModel, uuid);
  const facts = readModel.jobs.facts(visible);
  const isRead = facts && permission(caller.access, facts, 'read') === 'granted';
  const from = isRead ? readModel.lineage.position(visible) : undefined;
  const lineage = from === undefined ? undefined : await lineageOf(readModel, caller.access, from, options);
  if (!lineage || lineage.nodes.size === 0) throw jobNotFound(uuid);
  const uuidOf = (position: number) => lineage.nodes.get(position)?.row.uuid ?? '';
  return create(GetLineageResponseSchema, {
    jobs: [...lineage.nodes.values()].map(({ row, script, distance, unexplored }) => ({
      uuid: row.uuid,
      repository: row.repository,
      script,
      scriptVersion: row.script_version,
      state: row.state,
      output: row.output,
      distance,
      unexplored,
    })),
    links: lineage.links.map(({ giver, taker, output }) => ({
      giverUuid: uuidOf(giver),
      takerUuid: uuidOf(taker),
      output,
    })),
    truncated: lineage.truncated,
  });
}
