import type streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';

/** The biggest 64-bit number, which is the server's word for "none" and for the end of the log. */
export const biggest = 2n ** 64n - 1n;

/** A place in the whole log as it is sent. The order is by the commit position, then by the prepare position. */
export type Checkpoint = { readonly commit: bigint; readonly prepare: bigint };

/** Where a reader of the whole log begins. */
export type Start = 'start' | 'end' | Checkpoint;

/** How many records a server passes over at once unless the filter says so. */
const usualWindow = 32;

/**
 * The checkpoints of a filtered subscription, as a server was seen to send them. While it catches up, it reads windows of records. After
 * each whole one it tells of the last matching event in it, or else of where the window began, the first one at the start. Of the last,
 * unfinished one it tells the last matching event, or, if it told nothing before, the start, which is the biggest number where that is
 * the start of the log. When it has caught up, it tells of the record that ends each window.
 */
export function checkpoints(options: InstanceType<typeof streamsPb.ReadReq.Options>, from: Start) {
  const filter = options.getFilter();
  const window = (filter?.getMax() || usualWindow) * (filter?.getCheckpointintervalmultiplier() || 1);
  const atStart = from === 'start';
  let begin: Checkpoint = typeof from === 'object' ? from : { commit: 0n, prepare: 0n };
  // There is a record at 0 that nobody sees.
  let records = atStart ? 1 : 0;
  let any = false;
  let told = false;
  let matched: bigint | undefined;

  return {
    /** Takes note of a record; gives the checkpoint behind it, if there is one. */
    pass(position: number, matches: boolean, live: boolean): Checkpoint | undefined {
      const at = BigInt(position);
      any = true;
      if (matches) matched = at;
      if (++records < window) return undefined;
      const behind = matched === undefined ? begin : { commit: matched, prepare: matched };
      begin = { commit: at, prepare: 0n };
      records = 0;
      matched = undefined;
      told = true;
      return live ? { commit: at, prepare: at } : behind;
    },
    /** The checkpoint of what was read when the end of the log is reached. */
    atEnd(): Checkpoint | undefined {
      records = 0;
      if (matched !== undefined) return { commit: matched, prepare: matched };
      if (told || from === 'end') return undefined;
      if (atStart) return { commit: biggest, prepare: biggest };
      return any ? begin : undefined;
    },
  };
}
