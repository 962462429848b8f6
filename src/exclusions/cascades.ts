import { setImmediate as turn } from 'node:timers/promises';
import type { JsonObject } from '@bufbuild/protobuf';
import type { LineageRow } from '../../projections/read-model/lineage.js';
import { hitsItself } from '../domain/exclusions.js';
import { mentionsOf } from '../domain/lineage.js';
import { addressesOf } from '../domain/outputs/addresses.js';
import type { Position } from '../eventstore/port.js';
import type { Held } from '../jobs/ports/exclusions.js';
import { jobOf, learnOf, type Trace, type TraceContext, type Tracer } from './trace.js';

/** Completions that are looked at between two chances for other work. */
const pageSize = 100;

/** An output that was taken although an exclusion with cascade hits a job that gave it. */
export type Taken = {
  readonly exclusion: Held;
  readonly output: string;
  /** A job that gave it and is hit; empty if none did. */
  readonly uuid: string;
};

/** The exclusions with cascade that stand, each with the outputs that it makes unfit, kept up to date with the log. */
export type Cascades = {
  size(): number;
  /** Adds one; a trace that was made of it before spares the search. */
  add(exclusion: Held, traced?: Trace): void;
  remove(id: string): void;
  /**
   * Resolves when everything that the read model has was followed.
   * @throws MemoirError UNAVAILABLE if a history that is needed is not loaded yet
   */
  followed(): Promise<void>;
  /** Everything in the log up to here was followed; undefined if there is nothing to follow. */
  followedTo(): Position | undefined;
  /** What of these texts is the output of a job that is hit, as far as it was followed. */
  taken(texts: ReadonlySet<string>): Generator<Taken>;
};

/** Starts with none. */
export function cascades({ readModel, ranges }: TraceContext, tracer: Tracer): Cascades {
  const { lineage } = readModel;
  const untraced = new Map<string, Held>();
  const traces = new Map<string, Trace>();
  let following: Promise<void> | undefined;

  const followedTo = (): Position => Math.min(...[...traces.values()].map(({ position }) => position));

  const behind = () => untraced.size > 0 || followedTo() < readModel.position();

  async function follow(): Promise<void> {
    for (const [id, exclusion] of untraced) {
      const trace = await tracer.trace(exclusion);
      if (untraced.delete(id)) keep(trace);
    }
    const [from, end] = [followedTo(), readModel.position()];
    if (from >= end) return;
    const products = lineage.products(from, pageSize);
    for (const { position, job } of products) {
      const row = lineage.job(job);
      if (row) await followJob(row, position);
    }
    const last = products.length === pageSize ? products.at(-1) : undefined;
    for (const trace of traces.values()) trace.position = Math.max(trace.position, last?.position ?? end);
    if (last) await turn();
  }

  function keep(trace: Trace): void {
    forgetJobs(trace);
    traces.set(trace.exclusion.id, trace);
  }

  /** Which jobs are hit is told by the outputs that they took; the lists of them would only take memory. */
  function forgetJobs({ direct, through }: Trace): void {
    direct.clear();
    through.clear();
  }

  /** Takes a job that completed at `position` of the log into the traces that do not have it yet. */
  async function followJob(row: LineageRow, position: Position): Promise<void> {
    let texts: ReadonlySet<string> | undefined;
    for (const trace of traces.values()) {
      const addresses = addressesOf(jobOf(row));
      if (trace.position >= position || addresses.every((address) => trace.outputs.has(address))) continue;
      const { exclusion } = trace;
      await learnOf(ranges, exclusion, [row]);
      let hit = hitsItself(exclusion, jobOf(row), ranges.has);
      if (!hit && trace.outputs.size > 0) {
        texts ??= mentionsOf(JSON.parse(lineage.parameters(row.position)) as JsonObject);
        hit = firstIn(trace, texts) !== undefined;
      }
      for (const address of hit ? addresses : []) await tracer.spread(trace, address, row.uuid);
      forgetJobs(trace);
    }
  }

  return {
    size: () => traces.size + untraced.size,
    followedTo: () => (traces.size === 0 ? undefined : followedTo()),
    add(exclusion, traced) {
      if (traced) keep({ ...traced, exclusion });
      else untraced.set(exclusion.id, exclusion);
    },
    remove(id) {
      untraced.delete(id);
      traces.delete(id);
    },
    async followed() {
      while (behind()) {
        following ??= follow().finally(() => {
          following = undefined;
        });
        await following;
      }
    },
    *taken(texts) {
      for (const trace of traces.values()) {
        const output = firstIn(trace, texts);
        if (output === undefined) continue;
        yield { exclusion: trace.exclusion, output, uuid: trace.outputs.get(output) ?? '' };
      }
    },
  };
}

/** The first of the texts that is an output of a trace; the smaller of both sets is gone through. */
function firstIn({ outputs }: Trace, texts: ReadonlySet<string>): string | undefined {
  if (outputs.size < texts.size) {
    for (const output of outputs.keys()) if (texts.has(output)) return output;
    return undefined;
  }
  for (const text of texts) if (outputs.has(text)) return text;
  return undefined;
}
