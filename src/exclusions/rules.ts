import { setImmediate as turn } from 'node:timers/promises';
import type { JsonObject } from '@bufbuild/protobuf';
import type { ExclusionRow } from '../../projections/read-model/exclusions.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { mentionsOf } from '../domain/lineage.js';
import { type Position, start } from '../eventstore/port.js';
import type { Repositories } from '../git/port.js';
import { type OwnWrites, outputKey } from '../jobs/own-writes.js';
import type { DecidingExclusions, Held } from '../jobs/ports/exclusions.js';
import { cascades } from './cascades.js';
import { commitRanges } from './commit-ranges.js';
import { exclusionDetail } from './exclusion-detail.js';
import { learnCandidates } from './learn-candidates.js';
import { standingExclusions } from './standing.js';
import { type Trace, tracer } from './trace.js';

/** Changes of exclusions that are taken in between two chances for other work. */
const pageSize = 250;

/** Under what writes of exclusions are noted. */
const ownKey = 'exclusions';

/** The standing exclusions as decisions obey them, and as they are ordered and lifted. */
export type ExclusionRules = DecidingExclusions & {
  /**
   * What an exclusion hits now, whether it stands or not.
   * @throws MemoirError UNAVAILABLE as `ruleFor`
   */
  trace(exclusion: Held): Promise<Trace>;
  /** Spares the search for what an exclusion hits that is about to be recorded; the answer takes that back. */
  expect(traced: Trace): () => void;
  /** Notes that an exclusion was recorded, or lifted, at a position. */
  recorded(position: Position): void;
  /** Resolves when everything that the read model has was taken in; throws as `ruleFor`. */
  current(): Promise<void>;
  /** Those that stand and have the same target. */
  alike(exclusion: Held): readonly Held[];
};

/** What the rules work with. */
export type RulesContext = {
  readonly readModel: ReadModel;
  readonly written: OwnWrites;
  readonly repositories: Pick<Repositories, 'isAncestor'>;
};

/** Makes the rules, which follow the read model. */
export function exclusionRules({ readModel, written, repositories }: RulesContext): ExclusionRules {
  const ranges = commitRanges(repositories);
  const trace = tracer({ readModel, ranges });
  const traced = new Map<string, Trace>();
  let standing = standingExclusions();
  let cascading = cascades({ readModel, ranges }, trace);
  let seen: Position = start;
  let stale = true;
  let refreshing: Promise<void> | undefined;
  readModel.onExclusion(() => {
    stale = true;
  });

  // What was taken in of a file that was damaged may have been wrong.
  readModel.onRemade(() => {
    standing = standingExclusions();
    cascading = cascades({ readModel, ranges }, trace);
    traced.clear();
    seen = start;
    stale = true;
  });

  function takeIn({ exclusion, reinstated, changed }: ExclusionRow): void {
    seen = changed;
    if (reinstated) {
      standing.remove(exclusion);
      cascading.remove(exclusion.id);
    } else {
      standing.add(exclusion);
      if (exclusion.cascade) cascading.add(exclusion, traced.get(exclusion.id));
    }
    traced.delete(exclusion.id);
  }

  async function refresh(): Promise<void> {
    for (;;) {
      stale = false;
      const rows = readModel.exclusions.changedAfter(seen, pageSize);
      for (const row of rows) takeIn(row);
      if (rows.length < pageSize) return;
      stale = true;
      await turn();
    }
  }

  async function takenIn(): Promise<void> {
    await written.seen(ownKey);
    while (stale || refreshing) {
      refreshing ??= refresh().finally(() => {
        refreshing = undefined;
      });
      await refreshing;
    }
  }

  /** Those of the texts that can be outputs of jobs which are hit, once all that this process wrote of them is known. */
  async function mentioned(parameters: JsonObject): Promise<ReadonlySet<string>> {
    const texts = mentionsOf(parameters);
    for (const text of texts) if (written.pending(outputKey(text))) await written.seen(outputKey(text));
    await cascading.followed();
    return texts;
  }

  return {
    any: () => standing.size() > 0 || stale || refreshing !== undefined || written.pending(ownKey),
    async ruleFor({ repository, parameters, candidates }, except) {
      await takenIn();
      if (standing.size() === 0) return undefined;
      await learnCandidates(ranges, standing, { repository, candidates });
      const texts = cascading.size() > 0 ? await mentioned(parameters()) : undefined;
      return (candidate) => {
        const job = { ...candidate, repository: candidate.repository ?? repository };
        for (const exclusion of standing.hitting(job, ranges.has)) if (exclusion.id !== except) return { exclusion };
        for (const { exclusion, ...taken } of texts ? cascading.taken(texts) : []) {
          if (exclusion.id !== except) return { exclusion, taken };
        }
        return undefined;
      };
    },
    textOf: (excluded, access) => exclusionDetail(readModel, excluded, access),
    trace: trace.trace,
    expect(known) {
      traced.set(known.exclusion.id, known);
      return () => void traced.delete(known.exclusion.id);
    },
    recorded: (position) => written.note(ownKey, position),
    current: takenIn,
    alike: (exclusion) => standing.alike(exclusion),
    // Unless one was told of that is not taken in yet, nothing was missed up to where the read model is.
    position: () => ({
      standing: stale || refreshing ? seen : Math.max(seen, readModel.position()),
      changed: seen,
      followed: cascading.followedTo(),
    }),
  };
}
