import type { JsonObject } from '@bufbuild/protobuf';
import type { LineageRow } from '../../projections/read-model/lineage.js';
import { MemoirError } from '../domain/errors.js';
import { mentionsOf } from '../domain/lineage.js';
import { addressesOf } from '../domain/outputs/addresses.js';
import { pace } from '../jobs/pace.js';
import type { ExcludedBy, Held } from '../jobs/ports/exclusions.js';
import type { CommitRanges } from './commit-ranges.js';
import type { Standing } from './standing.js';
import { jobOf, learnOf, type TraceContext } from './trace.js';

/** Jobs that are read at once. */
const pageSize = 250;

/** Most jobs that one search looks at, and most texts that it looks up. */
const mostJobs = 100_000;
const mostTexts = 200_000;

/** What the search goes through: the lineage at some moment. */
export type UpstreamContext = {
  readonly lineage: Pick<TraceContext['readModel']['lineage'], 'givers' | 'job' | 'parameters'>;
  readonly ranges: CommitRanges;
};

/** An output on the way upstream; `giver` is the job that gave the first one of the way. */
type Open = { readonly text: string; readonly giver: string | undefined };

/**
 * Whether one of the texts that parameters mention is an output which exclusions with cascade make unfit: by what leads to it, from
 * the texts upstream. It finds what a trace from the exclusion downstream finds, and costs what the request's own origins cost
 * instead of all jobs that there are. A breadth-first search from each text.
 * @throws MemoirError RESOURCE_EXHAUSTED LINEAGE_TOO_LONG where more than 100,000 jobs, or 200,000 texts, stand upstream; UNAVAILABLE if a history that
 * an exclusion needs is not loaded yet
 */
export async function unfitOutput(
  { lineage, ranges }: UpstreamContext,
  cascading: Standing,
  texts: ReadonlySet<string>,
): Promise<ExcludedBy | undefined> {
  const breathe = pace();
  const seen = new Set<string>();
  let jobs = 0;

  async function hit(row: LineageRow): Promise<Held | undefined> {
    for (const range of cascading.ranges(row.repository)) await learnOf(ranges, range, [row]);
    for (const exclusion of cascading.hitting(jobOf(row), ranges.has)) return exclusion;
    return undefined;
  }

  async function from(root: string): Promise<ExcludedBy | undefined> {
    const open: Open[] = [{ text: root, giver: undefined }];
    for (const { text, giver } of open) {
      if (seen.has(text)) continue;
      if (seen.size === mostTexts) throw tooLong();
      seen.add(text);
      await breathe();
      for (let after = 0; ; ) {
        const givers = lineage.givers(text, after, pageSize);
        for (const position of givers) {
          await breathe();
          const row = lineage.job(position);
          if (!row || !addressesOf(jobOf(row)).includes(text)) continue;
          if (++jobs > mostJobs) throw tooLong();
          const first = giver ?? row.uuid;
          const exclusion = await hit(row);
          if (exclusion) return { exclusion, taken: { output: root, uuid: first } };
          const parameters = JSON.parse(lineage.parameters(position)) as JsonObject;
          for (const mentioned of mentionsOf(parameters)) {
            if (seen.has(mentioned)) continue;
            if (open.push({ text: mentioned, giver: first }) > mostTexts) throw tooLong();
          }
        }
        if (givers.length < pageSize) break;
        after = givers.at(-1) as number;
      }
      const [exclusion] = cascading.ofOutput(text);
      if (exclusion) return { exclusion, taken: { output: root, uuid: giver ?? '' } };
    }
    return undefined;
  }

  for (const text of texts) {
    await breathe();
    const found = await from(text);
    if (found) return found;
  }
  return undefined;
}

function tooLong(): MemoirError {
  return new MemoirError(
    'RESOURCE_EXHAUSTED',
    'LINEAGE_TOO_LONG',
    `more than ${mostJobs} jobs or ${mostTexts} texts stand upstream of the parameters, and each may be under an exclusion with cascade`,
  );
}
