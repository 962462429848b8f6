import { kinds } from '../objects/pack-entry.js';

/** No row. */
export const none = -1;

const first = 1_024;

/**
 * What is known of the objects of a pack, a row each in the order of the pack. Columns grow as rows come, whatever a header said of
 * their number.
 */
export class PackTable {
  count = 0;
  offset = new Float64Array(first);
  /** Bytes of the inflated entry: of a delta, of the delta. */
  size = new Float64Array(first);
  crc = new Uint32Array(first);
  /** Bytes from the entry's offset to its deflated content. */
  head = new Uint8Array(first);
  /** Kind of the object; 0 while a delta is not resolved. */
  type = new Uint8Array(first);
  /** Kind of the entry. */
  kind = new Uint8Array(first);
  depth = new Uint16Array(first);
  /** Row of the base of a delta, if it is known. */
  base = new Int32Array(first);
  firstChild = new Int32Array(first).fill(none);
  nextChild = new Int32Array(first).fill(none);
  ids: Buffer<ArrayBuffer>;
  /** Ids of bases that are named by id, and the rows of their deltas, in the order in which they came. */
  baseIds: Buffer<ArrayBuffer>;
  baseRows = new Int32Array(first);
  baseCount = 0;

  constructor(readonly idBytes: number) {
    this.ids = Buffer.alloc(first * idBytes);
    this.baseIds = Buffer.alloc(first * idBytes);
  }

  /** Adds a row. */
  add(offset: number, kind: number, size: number, head: number): number {
    if (this.count === this.offset.length) this.#grow();
    const row = this.count++;
    this.offset[row] = offset;
    this.size[row] = size;
    this.head[row] = head;
    this.kind[row] = kind;
    this.type[row] = kinds[kind] ? kind : 0;
    this.base[row] = none;
    return row;
  }

  /** Says that a row is a delta of another one. */
  addChild(base: number, row: number): void {
    this.base[row] = base;
    this.nextChild[row] = this.firstChild[base] ?? none;
    this.firstChild[base] = row;
  }

  /** Says that a row is a delta of the object of an id. */
  addBaseId(id: Uint8Array, row: number): void {
    if (this.baseCount === this.baseRows.length) {
      this.baseRows = grown(this.baseRows, new Int32Array(this.baseCount * 2));
      this.baseIds = grown(this.baseIds, Buffer.alloc(this.baseIds.length * 2));
    }
    this.baseIds.set(id, this.baseCount * this.idBytes);
    this.baseRows[this.baseCount++] = row;
  }

  /** The id of a row; not to be kept while rows are added. */
  id(row: number): Buffer {
    return this.ids.subarray(row * this.idBytes, (row + 1) * this.idBytes);
  }

  /** The row that begins at an offset, or none. */
  rowAt(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.offset[middle] ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return low < this.count && this.offset[low] === offset ? low : none;
  }

  #grow(): void {
    const room = this.count * 2;
    this.offset = grown(this.offset, new Float64Array(room));
    this.size = grown(this.size, new Float64Array(room));
    this.crc = grown(this.crc, new Uint32Array(room));
    this.head = grown(this.head, new Uint8Array(room));
    this.type = grown(this.type, new Uint8Array(room));
    this.kind = grown(this.kind, new Uint8Array(room));
    this.depth = grown(this.depth, new Uint16Array(room));
    this.base = grown(this.base, new Int32Array(room));
    this.firstChild = grown(this.firstChild, new Int32Array(room).fill(none));
    this.nextChild = grown(this.nextChild, new Int32Array(room).fill(none));
    this.ids = grown(this.ids, Buffer.alloc(room * this.idBytes));
  }
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
