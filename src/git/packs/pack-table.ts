import { kinds } from '../objects/pack-entry.js';

/** No row. */
export const none = -1;

const first = 1_024;

/**
 * What is known of the objects of a pack, a row each in the order of the pack. Columns grow as rows come, whatever a header said of
 * their number. They are in memory that threads share; while several use a table, no rows are added.
 */
export class PackTable {
  count = 0;
  offset = float64s(first);
  /** Bytes of the inflated entry: of a delta, of the delta. */
  size = float64s(first);
  crc = uint32s(first);
  /** Bytes from the entry's offset to its deflated content. */
  head = uint8s(first);
  /** Kind of the object; 0 while a delta is not resolved. */
  type = uint8s(first);
  /** Kind of the entry. */
  kind = uint8s(first);
  depth = uint16s(first);
  /** Row of the base of a delta, if it is known. */
  base = int32s(first);
  firstChild = int32s(first).fill(none);
  nextChild = int32s(first).fill(none);
  ids: Buffer;
  /** Ids of bases that are named by id, and the rows of their deltas, in the order in which they came. */
  baseIds: Buffer;
  baseRows = int32s(first);
  baseCount = 0;

  constructor(readonly idBytes: number) {
    this.ids = sharedBytes(first * idBytes);
    this.baseIds = sharedBytes(first * idBytes);
  }

  /** The table that another thread was sent: the same memory. */
  static of(sent: PackTable): PackTable {
    const table: PackTable = Object.assign(new PackTable(sent.idBytes), sent);
    table.ids = asBuffer(sent.ids);
    table.baseIds = asBuffer(sent.baseIds);
    return table;
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
      this.baseRows = grown(this.baseRows, int32s(this.baseCount * 2));
      this.baseIds = grown(this.baseIds, sharedBytes(this.baseIds.length * 2));
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
    this.offset = grown(this.offset, float64s(room));
    this.size = grown(this.size, float64s(room));
    this.crc = grown(this.crc, uint32s(room));
    this.head = grown(this.head, uint8s(room));
    this.type = grown(this.type, uint8s(room));
    this.kind = grown(this.kind, uint8s(room));
    this.depth = grown(this.depth, uint16s(room));
    this.base = grown(this.base, int32s(room));
    this.firstChild = grown(this.firstChild, int32s(room).fill(none));
    this.nextChild = grown(this.nextChild, int32s(room).fill(none));
    this.ids = grown(this.ids, sharedBytes(room * this.idBytes));
  }
}

const shared = (bytes: number) => new SharedArrayBuffer(bytes);
const float64s = (length: number) => new Float64Array(shared(length * 8));
const uint32s = (length: number) => new Uint32Array(shared(length * 4));
const int32s = (length: number) => new Int32Array(shared(length * 4));
const uint16s = (length: number) => new Uint16Array(shared(length * 2));
const uint8s = (length: number) => new Uint8Array(shared(length));
const sharedBytes = (length: number) => Buffer.from(shared(length));

/** What was a Buffer before it was sent. */
const asBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array) => Buffer.from(buffer, byteOffset, byteLength);

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
