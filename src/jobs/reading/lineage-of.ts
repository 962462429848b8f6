import type { JsonObject } from '@bufbuild/protobuf';
import type { LineageRow } from '../../../projections/read-model/lineage.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { Access } from '../../domain/access.js';
import { mentionsOf } from '../../domain/lineage.js';
import { addressesOf } from '../../domain/outputs/addresses.js';
import { pace } from '../pace.js';

/** Jobs that are read at once. */
const pageSize = 250;

/** Most jobs that one answer looks at, readable or not, and most texts. */
const mostLooked = { jobs: 100_000, texts: 200_000 };

/** Which ways to go, and how far. */
export type LineageOptions = {
  readonly up: boolean;
  readonly down: boolean;
  /** Most steps. */
  readonly maxDepth: number;
  /** Most jobs, the first one included. */
  readonly maxJobs: number;
};

/** A job of a lineage: below 0 steps upstream, above downstream. */
export type LineageNode = {
  readonly row: LineageRow;
  readonly script: string;
  readonly distance: number;
  unexplored: boolean;
};

/** That a job took an output that another gave; both by the positions of their JobRequested. */
export type LineageLink = { readonly giver: number; readonly taker: number; readonly output: string };

/** What came of what, as far as somebody may read it. */
export type Lineage = {
  /** By position, in the order in which they were come to. */
  readonly nodes: ReadonlyMap<number, LineageNode>;
  readonly links: readonly LineageLink[];
  /** Whether something was left out for its number. */
  readonly truncated: boolean;
};

type Step = { readonly position: number; readonly output: string };

/**
 * Follows what jobs gave and took, from a job on that the caller may read, breadth first, giving way to other work every few milliseconds.
 * Other jobs that the caller may not read, and deleted ones, are passed over and not followed through.
 */
export async function lineageOf(
  { lineage }: Pick<ReadModel, 'lineage'>,
  access: Access,
  from: number,
  { up, down, maxDepth, maxJobs }: LineageOptions,
): Promise<Lineage> {
  const breathe = pace();
  const nodes = new Map<number, LineageNode>();
  const links = new Map<string, LineageLink>();
  const left = { ...mostLooked };
  let truncated = false;

  /** The job at a position if it may be read. */
  function readable(position: number): LineageRow | undefined {
    if (left.jobs === 0) {
      truncated = true;
      return undefined;
    }
    left.jobs--;
    const row = lineage.job(position);
    return row && row.deleted === 0 && access.reads(row) ? row : undefined;
  }

  /** Whoever the index has for a text, the oldest first. */
  async function* found(of: 'givers' | 'takers', output: string): AsyncGenerator<Step> {
    for (let after = 0; left.jobs > 0; await breathe()) {
      const positions = lineage[of](output, after, pageSize);
      for (const position of positions) yield { position, output };
      if (positions.length < pageSize) return;
      after = positions.at(-1) as number;
    }
  }

  const mentioned = (position: number) => mentionsOf(JSON.parse(lineage.parameters(position)) as JsonObject);
  const gives = ({ output, output_v1: outputV1 }: LineageRow, text: string) =>
    addressesOf({ output, outputV1 }).includes(text);

  /** The jobs one step upstream of one that may be read. */
  async function* givers({ position }: LineageRow): AsyncGenerator<LineageRow & { readonly text: string }> {
    for (const output of [...mentioned(position)].sort()) {
      if (left.texts-- <= 0) {
        truncated = true;
        return;
      }
      for await (const step of found('givers', output)) {
        const row = readable(step.position);
        // The index knows a text by the beginning of its hash.
        if (row && gives(row, output)) yield { ...row, text: output };
      }
      await breathe();
    }
  }

  /** The jobs one step downstream of one that may be read. */
  async function* takers({
    output,
    output_v1: outputV1,
  }: LineageRow): AsyncGenerator<LineageRow & { readonly text: string }> {
    for (const text of addressesOf({ output, outputV1 })) {
      for await (const step of found('takers', text)) {
        const row = readable(step.position);
        if (row && mentioned(step.position).has(text)) yield { ...row, text };
      }
    }
  }

  async function follow(sign: 1 | -1, next: typeof givers): Promise<void> {
    let level = [nodes.get(from) as LineageNode];
    for (let depth = 0; level.length > 0; depth++) {
      const further: LineageNode[] = [];
      for (const node of level) {
        if (depth === maxDepth) {
          node.unexplored = true;
          continue;
        }
        const own = node.row.position;
        for await (const { text, ...row } of next(node.row)) {
          if (!nodes.has(row.position)) {
            if (nodes.size >= maxJobs) {
              truncated = true;
              continue;
            }
            const script = lineage.script(row.position);
            const reached = { row, script, distance: sign * (depth + 1), unexplored: false };
            nodes.set(row.position, reached);
            further.push(reached);
          }
          const [giver, taker] = sign < 0 ? [row.position, own] : [own, row.position];
          links.set(JSON.stringify([giver, taker, text]), { giver, taker, output: text });
        }
      }
      level = further;
    }
  }

  const row = lineage.job(from);
  if (row?.deleted !== 0) return { nodes, links: [], truncated };
  nodes.set(from, { row, script: lineage.script(from), distance: 0, unexplored: false });
  if (up) await follow(-1, givers);
  if (down) await follow(1, takers);
  return { nodes, links: [...links.values()], truncated };
}
