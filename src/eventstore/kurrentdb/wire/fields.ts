/** The most bytes of a varint of 64 bits. */
const longestVarint = 10;

/**
 * Goes through the fields of a message as protobuf encodes it, into messages in it and out of them, without making anything of what is passed
 * over. Each event is read so once by every thread that follows the log: the messages that are generated for the client, with a reader for each
 * of those within, take several times as long. Groups, which proto3 has not, are refused.
 */
export class Fields {
  private pos = 0;
  private end: number;
  private type = 0;

  constructor(private readonly bytes: Buffer) {
    this.end = bytes.length;
  }

  /** Number of the next field of the message, whose content is read or passed over then; 0 at its end. @throws RangeError if there is none */
  next(): number {
    if (this.pos >= this.end) return 0;
    const tag = this.uint64();
    if (typeof tag !== 'number' || tag < 8 || tag >= 2 ** 32) throw malformed(`a field with tag ${tag}`);
    this.type = tag % 8;
    return (tag - this.type) / 8;
  }

  /** Goes into the message that the field holds; `leave` with what this gives goes on behind it. */
  enter(): number {
    const { end } = this;
    this.end = this.endOfBytes();
    return end;
  }

  leave(end: number): void {
    this.pos = this.end;
    this.end = end;
  }

  /** The text in the field; what is no UTF-8 is replaced. */
  text(): string {
    const end = this.endOfBytes();
    const { pos } = this;
    this.pos = end;
    return this.bytes.toString('utf8', pos, end);
  }

  /** The bytes in the field, not copied. */
  content(): Buffer {
    const end = this.endOfBytes();
    const { pos } = this;
    this.pos = end;
    return this.bytes.subarray(pos, end);
  }

  /** The number in the field; as a bigint where it is no safe integer. */
  number(): number | bigint {
    if (this.type !== 0) throw malformed(`wire type ${this.type} for a number`);
    return this.uint64();
  }

  skip(): void {
    if (this.type === 0) this.uint64();
    else if (this.type === 2) this.pos = this.endOfBytes();
    else if (this.type === 1 || this.type === 5) this.pos += this.type === 1 ? 8 : 4;
    else throw malformed(`wire type ${this.type}`);
    if (this.pos > this.end) throw malformed('it ends within a field');
  }

  private endOfBytes(): number {
    if (this.type !== 2) throw malformed(`wire type ${this.type} for bytes`);
    const length = this.uint64();
    const end = this.pos + Number(length);
    if (end > this.end) throw malformed('it ends within a field');
    return end;
  }

  private uint64(): number | bigint {
    const from = this.pos;
    let number = 0;
    for (let factor = 1; this.pos < this.end; factor *= 128) {
      const byte = this.bytes[this.pos++] as number;
      number += (byte & 0x7f) * factor;
      if (byte < 0x80) return number <= Number.MAX_SAFE_INTEGER ? number : this.bigint(from);
      if (this.pos - from >= longestVarint) break;
    }
    throw malformed('a number without end');
  }

  private bigint(from: number): bigint {
    let number = 0n;
    for (let at = this.pos - 1; at >= from; at--) number = (number << 7n) | BigInt((this.bytes[at] as number) & 0x7f);
    return BigInt.asUintN(64, number);
  }
}

const malformed = (what: string) => new RangeError(`the message is malformed: ${what}`);
