import { setImmediate as turn } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { ExclusionSchema } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import {
  ExcludeFromReuseResponseSchema,
  type ExclusionsService,
  HitSchema,
  ListExclusionsResponseSchema,
  ReinstateForReuseResponseSchema,
  ReportOutputLostResponseSchema,
} from '../../gen/memoir/jobs/v1/exclusions_service_pb.js';
import type { ExclusionList, ExclusionRow } from '../../projections/read-model/exclusions.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Access } from '../domain/access.js';
import { invalid, quote } from '../domain/errors.js';
import type { Exclusions } from '../exclusions/exclude.js';
import { knowsExclusion } from '../exclusions/permit.js';
import type { JobsContext } from '../jobs/context.js';
import { checkLength, checkRequired, checkUuid, textLimits } from '../jobs/limits.js';
import type { Implementation } from './service.js';
import { checkPageSize, pageTokenOf, readPageToken, seeOwn, seeToken, tokenOf } from './tokens.js';

/** Most hits of an answer, and how many there are unless asked for. */
const hitLimits = { most: 10_000, usual: 1_000 };

/** About how many characters of exclusions a page holds at most; a page that would be larger ends early. */
const pageCharacters = 1024 * 1024;

/** memoir.jobs.v1.ExclusionsService. */
export function exclusionsService(
  { store, readModel, written }: Pick<JobsContext, 'store' | 'readModel' | 'written'>,
  exclusions: Exclusions,
): Implementation<typeof ExclusionsService> {
  return {
    async excludeFromReuse({ target, cascade, reason, dryRun, maxHits }, { caller }) {
      checkReason(reason);
      if (maxHits > hitLimits.most) {
        throw invalid('max_hits', 'OUT_OF_RANGE', `max_hits ${maxHits} is more than ${hitLimits.most}`);
      }
      const order = { target, cascade, reason };
      const limit = maxHits || hitLimits.usual;
      const done = dryRun
        ? await exclusions.preview(caller, order, limit)
        : await exclusions.exclude(caller, order, limit);
      return create(ExcludeFromReuseResponseSchema, {
        exclusion: done.exclusion,
        hits: done.hits.first.map(({ uuid, through }) => create(HitSchema, { uuid, throughUuid: through })),
        hitCount: done.hits.count,
        consistencyToken: 'position' in done ? tokenOf(readModel, done.position) : '',
      });
    },

    async reinstateForReuse({ id, reason }, { caller }) {
      const wanted = checkUuid('id', id);
      checkReason(reason);
      const position = await exclusions.reinstate(caller, wanted, reason);
      return create(ReinstateForReuseResponseSchema, { consistencyToken: tokenOf(readModel, position) });
    },

    async listExclusions({ repository, includeReinstated, pageSize, pageToken, consistencyToken }, call) {
      checkLength('repository', repository, textLimits.repository);
      const size = checkPageSize(pageSize);
      const [before = Number.MAX_SAFE_INTEGER] = readPageToken(readModel, pageToken, 1) ?? [];
      await seeToken(consistencyToken, store, readModel, call);
      const completeUpTo = await seeOwn(written, readModel, call);
      const list = { includeReinstated, before, limit: size + 1, ...(repository !== '' && { repository }) };
      const rows = await known(readModel, call.caller.access, list);
      const listed = page(rows, size);
      const last = listed.length < rows.length ? listed.at(-1) : undefined;
      return create(ListExclusionsResponseSchema, {
        exclusions: listed.map(({ exclusion, reinstated, reinstatedReason }) => ({
          exclusion: create(ExclusionSchema, exclusion),
          reinstated,
          reinstatedReason,
        })),
        nextPageToken: last ? pageTokenOf(readModel, [last.position]) : '',
        completeUpTo,
      });
    },

    async reportOutputLost({ output, reason }, { caller }) {
      checkRequired('output', output, textLimits.address);
      checkReason(reason);
      const { exclusion, jobCount, position } = await exclusions.reportLost(caller, output, reason);
      return create(ReportOutputLostResponseSchema, {
        exclusionId: exclusion?.id ?? '',
        jobCount,
        consistencyToken: tokenOf(readModel, position),
      });
    },
  };
}

/** As `list`, but only what the caller may know of. */
async function known(readModel: ReadModel, access: Access, list: ExclusionList): Promise<readonly ExclusionRow[]> {
  const rows: ExclusionRow[] = [];
  for (let { before } = list; ; await turn()) {
    const next = readModel.exclusions.list({ ...list, before });
    rows.push(...next.filter((row) => knowsExclusion(access, readModel, row)));
    const last = next.at(-1);
    if (!last || next.length < list.limit || rows.length >= list.limit) return rows.slice(0, list.limit);
    before = last.position;
  }
}

function checkReason(reason: string): void {
  checkRequired('reason', reason, textLimits.reason);
  if (reason.trim() === '') throw invalid('reason', 'REQUIRED', `reason ${quote(reason)} says nothing`);
}

/** The first rows, up to `size` of them, that fit into one answer. */
function page(rows: readonly ExclusionRow[], size: number): readonly ExclusionRow[] {
  let characters = 0;
  const end = rows.findIndex(({ exclusion, reinstatedReason }) => {
    const { target } = exclusion;
    characters += 1_000 + exclusion.reason.length + reinstatedReason.length;
    if (typeof target.value === 'string') characters += target.value.length;
    return characters > pageCharacters;
  });
  return rows.slice(0, Math.min(size, end < 1 ? rows.length : end));
}
