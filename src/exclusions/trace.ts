import type { LineageRow } from '../../projections/read-model/lineage.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { ranFromRow } from '../../projections/read-model/reuse-index.js';
import { type ExcludableJob, excludedOutputs, hitsItself } from '../domain/exclusions.js';
import { addressesOf } from '../domain/outputs/addresses.js';
import type { Position } from '../eventstore/port.js';
import { pace } from '../jobs/pace.js';
import type { Held } from '../jobs/ports/exclusions.js';
import type { CommitRanges } from './commit-ranges.js';

/** Rows that are read at once: a millisecond or two. */
const pageSize = 250;

/** What one exclusion hits. Jobs are named by the positions of their JobRequested, which is also their order of age. */
export type Trace = {
  readonly exclusion: Held;
  /** Everything in the log up to here is in it. */
  position: Position;
  /** Jobs that are hit by what they are themselves. */
  readonly direct: Set<number>;
  /**
   * With cascade: the outputs of all jobs that are hit, and of each the uuid of the job by which it was reached first; empty if
   * no job gave it.
   */
  readonly outputs: Map<string, string>;
  /** With cascade: jobs that took such an output, and the uuid of the job by which each was reached first. */
  readonly through: Map<number, string>;
};

/** What tracing needs. */
export type TraceContext = { readonly readModel: ReadModel; readonly ranges: CommitRanges };

/** Follows exclusions through all jobs of the read model, giving way to other work every few milliseconds. */
export type Tracer = {
  /**
   * What an exclusion hits now.
   * @throws MemoirError UNAVAILABLE if a history that it needs is not loaded yet
   */
  trace(exclusion: Held): Promise<Trace>;
  /** Takes an output of a job that is hit into a trace, and whatever follows from it. */
  spread(trace: Trace, output: string, uuid: string): Promise<void>;
};

/** The job that a row tells of. */
export function jobOf(row: LineageRow): ExcludableJob {
  const ran = ranFromRow(row);
  return {
    ...(ran && { ran }),
    uuid: row.uuid,
    repository: row.repository,
    scriptVersion: row.script_version,
    dockerImageLocator: row.docker_image_locator,
    output: row.output,
    outputV1: row.output_v1,
  };
}

/** Learns what must be known of a range to judge some rows. */
export async function learnOf(ranges: CommitRanges, { target }: Held, rows: readonly LineageRow[]): Promise<void> {
  if (target.case !== 'commitRange') return;
  const { repository } = target.value;
  const those = rows.filter((row) => row.repository === repository);
  await ranges.learn(target.value, new Set(those.map((row) => row.script_version)));
}

/** Makes a tracer. */
export function tracer({ readModel, ranges }: TraceContext): Tracer {
  const { lineage } = readModel;

  /** Jobs among which all are that the exclusion hits directly, in pages, oldest first. */
  async function* mayBeHit(exclusion: Held): AsyncGenerator<readonly LineageRow[]> {
    const { target } = exclusion;
    if (target.case === 'output') {
      for (const address of excludedOutputs(exclusion)) yield* giversOf(address);
      return;
    }
    if (target.case === 'jobUuid') {
      const position = lineage.position(target.value);
      const row = position === undefined ? undefined : lineage.job(position);
      if (row) yield [row];
      return;
    }
    const breathe = pace();
    for (let after = 0; ; await breathe()) {
      const rows = lineage.jobs(after, pageSize);
      yield rows;
      if (rows.length < pageSize) return;
      after = (rows.at(-1) as LineageRow).position;
    }
  }

  /** Jobs that gave an output, in pages, oldest first. */
  async function* giversOf(address: string): AsyncGenerator<readonly LineageRow[]> {
    const breathe = pace();
    for (let after = 0; ; await breathe()) {
      const positions = lineage.givers(address, after, pageSize);
      yield rowsAt(positions);
      if (positions.length < pageSize) return;
      after = positions.at(-1) as number;
    }
  }

  function rowsAt(positions: readonly number[]): LineageRow[] {
    return positions.map((position) => lineage.job(position)).filter((row) => row !== undefined);
  }

  async function spread(trace: Trace, output: string, uuid: string): Promise<void> {
    if (trace.outputs.has(output)) return;
    trace.outputs.set(output, uuid);
    // A breadth-first search, so that each job is reached by the shortest way.
    const open = [{ output, uuid }];
    const breathe = pace();
    for (const next of open) {
      for (let after = 0; ; await breathe()) {
        const takers = lineage.takers(next.output, after, pageSize);
        for (const position of takers) {
          if (trace.through.has(position)) continue;
          trace.through.set(position, next.uuid);
          const row = lineage.job(position);
          for (const address of row ? addressesOf(jobOf(row)) : []) {
            if (trace.outputs.has(address)) continue;
            trace.outputs.set(address, (row as LineageRow).uuid);
            open.push({ output: address, uuid: (row as LineageRow).uuid });
          }
        }
        if (takers.length < pageSize) break;
        after = takers.at(-1) as number;
      }
      await breathe();
    }
  }

  return {
    spread,
    async trace(exclusion) {
      const trace: Trace = {
        exclusion,
        position: readModel.position(),
        direct: new Set(),
        outputs: new Map(),
        through: new Map(),
      };
      const given = new Map<number, LineageRow>();
      for await (const rows of mayBeHit(exclusion)) {
        await learnOf(ranges, exclusion, rows);
        for (const row of rows) {
          if (!hitsItself(exclusion, jobOf(row), ranges.has)) continue;
          trace.direct.add(row.position);
          if (row.output !== '') given.set(row.position, row);
        }
      }
      if (!exclusion.cascade) return trace;
      const breathe = pace();
      for (const row of given.values()) {
        for (const address of addressesOf(jobOf(row))) await spread(trace, address, row.uuid);
        await breathe();
      }
      // What is known to be wrong is wrong wherever it came from.
      for (const address of excludedOutputs(exclusion)) await spread(trace, address, '');
      return trace;
    },
  };
}
