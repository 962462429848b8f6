import { sortIds } from '../graph/sort-ids.js';
import { applyDelta } from '../objects/delta.js';
import type { ObjectType } from '../objects/object.js';
import { kinds } from '../objects/pack-entry.js';
import { type PackFile, type Room, roomFor } from './pack-file.js';
import type { PackBudget } from './pack-limits.js';
import { none, type PackTable } from './pack-table.js';
import type { Taker } from './scan-pack.js';

/** Resolves deltas, from what is whole to what is a delta of it. */
export type DeltaResolver = {
  /** Resolves everything that is a delta of an object which has its id, directly or not. */
  from(row: number): void;
  /** Ids, raw, of the bases that deltas still wait for. */
  missing(): Buffer[];
};

/** An object on the way from what is whole to the delta that is being resolved, with further deltas of it to come. */
type Frame = {
  readonly row: number;
  /** Its content; undefined if it had to make room, and is put together again. */
  data: Buffer | undefined;
  /** The next delta of it by offset, and by id: places in the sorted list. */
  byOffset: number;
  byId: number;
};

/** Most bytes of objects that are kept since more deltas of them are to come, by all threads together. */
const keptBytes = 64 * 1024 * 1024;

/**
 * Several threads may each have one of the same table, for objects of their own.
 * @param done - called after each delta
 * @param threads - how many there are
 * @throws Error from `from`, saying what is malformed or which limit is passed
 */
export function deltaResolver(
  file: PackFile,
  table: PackTable,
  budget: PackBudget,
  { take }: Pick<Taker, 'take'>,
  done: () => void,
  threads = 1,
): DeltaResolver {
  const { limits } = budget;
  const bytes = table.idBytes;
  /** Deltas that name their base by id, in the order of these ids. */
  const sorted = sortIds(table.baseIds, table.baseCount, bytes);
  const room = roomFor();
  const mostKept = keptBytes / threads;
  const fail = (what: string) => new Error(`its pack is malformed: ${what}`);

  const baseIdAt = (place: number): Buffer => {
    const at = (sorted[place] as number) * bytes;
    return table.baseIds.subarray(at, at + bytes);
  };

  function firstById(row: number): number {
    const id = table.id(row);
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(baseIdAt(middle), id) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function nextChild(frame: Frame): number {
    if (frame.byOffset !== none) {
      const row = frame.byOffset;
      frame.byOffset = table.nextChild[row] as number;
      return row;
    }
    while (frame.byId < sorted.length && baseIdAt(frame.byId).equals(table.id(frame.row))) {
      const row = table.baseRows[sorted[frame.byId++] as number] as number;
      // An object that comes twice would have its deltas twice, and maybe two threads at the same moment.
      if (Atomics.compareExchange(table.type, row, 0, table.type[frame.row] as number) !== 0) continue;
      table.base[row] = frame.row;
      return row;
    }
    return none;
  }

  const hasMore = ({ row, byOffset, byId }: Frame): boolean =>
    byOffset !== none || (byId < sorted.length && baseIdAt(byId).equals(table.id(row)));

  function frameOf(row: number): Frame | undefined {
    const byId = sorted.length === 0 ? 0 : firstById(row);
    const frame: Frame = { row, data: undefined, byOffset: table.firstChild[row] as number, byId };
    return hasMore(frame) ? frame : undefined;
  }

  type Inflate = PackFile['inflate'];
  function inflated(row: number, inflate: Inflate): Buffer {
    const size = table.size[row] as number;
    if (size > limits.deltaBytes) throw fail(`an object of ${size} bytes is the base of a delta`);
    budget.spend(size);
    const start = (table.offset[row] as number) + (table.head[row] as number);
    const end = row + 1 < table.count ? (table.offset[row + 1] as number) : file.end();
    return inflate(start, size, end - start).data;
  }

  /** @param room - where the result is put, if it is not to stay */
  function apply(row: number, base: Buffer, room?: Room): Buffer {
    const data = applyDelta(base, inflated(row, file.inflateBriefly), limits.deltaBytes, fail, room);
    budget.spend(data.length);
    return data;
  }

  /** The content of a frame that made room: from the closest one below it that has its own. */
  function again(stack: readonly Frame[], frame: Frame): Buffer {
    const kept = new Map(stack.filter(({ data }) => data).map((other) => [other.row, other.data as Buffer]));
    const rows: number[] = [];
    let row = frame.row;
    while (!kept.has(row) && table.base[row] !== none) {
      rows.push(row);
      row = table.base[row] as number;
    }
    let data = kept.get(row) ?? inflated(row, file.inflate);
    for (const delta of rows.reverse()) data = apply(delta, data);
    return data;
  }

  function from(root: number): void {
    const first = frameOf(root);
    if (!first) return;
    const type = kinds[table.type[root] as number] as ObjectType;
    const stack: Frame[] = [first];
    let kept = 0;
    const keep = (frame: Frame, data: Buffer): void => {
      frame.data = data;
      kept += data.length;
      for (const other of stack) {
        if (kept <= mostKept) break;
        if (other === frame || !other.data) continue;
        kept -= other.data.length;
        other.data = undefined;
      }
    };
    const contentOf = (frame: Frame): Buffer => {
      if (frame.data) return frame.data;
      const data = again(stack, frame);
      keep(frame, data);
      return data;
    };
    for (let frame = stack.at(-1); frame; frame = stack.at(-1)) {
      const row = nextChild(frame);
      const base = row === none ? undefined : contentOf(frame);
      // A long chain in which each has one delta needs no more memory than two of them.
      if (!hasMore(frame)) {
        stack.pop();
        kept -= frame.data?.length ?? 0;
      }
      if (!base) continue;
      const depth = (table.depth[frame.row] as number) + 1;
      if (depth > limits.depth) throw fail(`it has a chain of more than ${limits.depth} deltas`);
      // Whether there are deltas that name it by its id is known only once it has one.
      const mayStay = sorted.length > 0 || table.firstChild[row] !== none;
      const data = apply(row, base, mayStay ? undefined : room);
      table.depth[row] = depth;
      table.type[row] = table.type[frame.row] as number;
      take(row, type, data);
      done();
      const next = frameOf(row);
      if (!next) continue;
      stack.push(next);
      keep(next, data);
    }
  }

  return {
    from,
    missing() {
      const ids: Buffer[] = [];
      for (let place = 0; place < sorted.length; place++) {
        if (table.type[table.baseRows[sorted[place] as number] as number] !== 0) continue;
        const id = baseIdAt(place);
        if (!ids.at(-1)?.equals(id)) ids.push(id);
      }
      return ids;
    },
  };
}
