import { quote } from '../../domain/errors.js';
import type { PktReader } from './pkt-line.js';

const dataBand = 1;
const progressBand = 2;
const errorBand = 3;

/** Most bytes of what the other side says that are looked at. */
const longestTold = 512;

/**
 * The pack in the bands of an answer (gitprotocol-pack(5), "Packfile Data").
 * @param told - told what the remote says beside it, quoted
 * @throws Error if it ends too early, or the remote says that it failed, which is quoted
 */
export async function* readSideBand(lines: PktReader, told: (text: string) => void): AsyncGenerator<Buffer> {
  let begun = false;
  for (;;) {
    const line = await lines.next('the pack');
    // Servers of version 0 may acknowledge more than once.
    if (!begun && line instanceof Buffer && /^(ACK |NAK)/.test(line.toString('latin1', 0, 4))) continue;
    begun = true;
    if (line === 'flush' || line === 'end') return;
    const band = typeof line === 'string' ? undefined : line[0];
    if (typeof line === 'string' || band === undefined) throw new Error('it sends a pack that is not in bands');
    const content = line.subarray(1);
    if (band === dataBand) {
      if (content.length > 0) yield content;
    } else if (band === progressBand) {
      const text = lastLine(content);
      if (text !== '') told(quote(text, 120));
    } else if (band === errorBand) {
      throw new Error(`it says ${quote(content.toString('utf8', 0, longestTold).trim())}`);
    } else throw new Error(`it sends a pack in the unknown band ${band}`);
  }
}

/** Progress is written over what was there before, by carriage returns. */
function lastLine(content: Buffer): string {
  const lines = content.toString('utf8', 0, longestTold).split(/[\r\n]+/);
  return lines.map((line) => line.trim()).findLast((line) => line !== '') ?? '';
}
