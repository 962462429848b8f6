import { BadLine, maxLine, tooLong } from './format.js';

const lineFeed = 0x0a;

/**
 * The lines of a file as bytes without their ends, some at a time.
 * @throws BadLine about the line after those that were given, if it is longer than `maxLine` or is the last and has no end
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Buffer[]> {
  let begun: Buffer[] = [];
  let length = 0;
  for await (const given of chunks) {
    const chunk = Buffer.from(given.buffer, given.byteOffset, given.length);
    let lines: Buffer[] = [];
    let from = 0;
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, from)) {
      const rest = chunk.subarray(from, end);
      if (length + rest.length >= maxLine) break;
      lines.push(length > 0 ? Buffer.concat([...begun, rest]) : rest);
      begun = [];
      length = 0;
      from = end + 1;
    }
    if (from < chunk.length) begun.push(chunk.subarray(from));
    length += chunk.length - from;
    if (lines.length > 0) yield lines;
    // So that a chunk is not kept by the lines that were taken from it.
    lines = [];
    if (length >= maxLine) throw new BadLine(tooLong);
  }
  if (length > 0) throw new BadLine('the file ends in the middle of it');
}
