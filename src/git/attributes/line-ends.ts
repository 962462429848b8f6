import type { AttributeState } from './attribute-file.js';

/** What the attributes make of the line ends of a file: nothing, CRLF in every text, or CRLF where the content is text. */
export type LineEnds = 'kept' | 'crlf' | 'crlf if text';

/**
 * What `text`, `eol` and the old `crlf` mean where no configuration says more: line ends of a text are LF, which is what git holds, so
 * that only `eol=crlf` changes any.
 */
export function lineEnds(attributes: ReadonlyMap<string, AttributeState>): LineEnds {
  const text = textOf(attributes.get('text')) ?? textOf(attributes.get('crlf'));
  if (text === 'no' || attributes.get('eol') !== 'crlf') return 'kept';
  return text === 'auto' ? 'crlf if text' : 'crlf';
}

function textOf(state: AttributeState): 'yes' | 'no' | 'auto' | undefined {
  if (state === true || state === 'input') return 'yes';
  if (state === false) return 'no';
  return state === 'auto' ? 'auto' : undefined;
}

const cr = 0x0d;
const lf = 0x0a;

/** The content with CRLF at the end of every line, as `crlf_to_worktree` of git's convert.c has it. */
export function withLineEnds(content: Buffer, wanted: LineEnds): Buffer {
  if (wanted === 'kept') return content;
  const lines = countLines(content);
  if (lines.lone === 0) return content;
  if (wanted === 'crlf if text' && (lines.crlf > 0 || isBinary(content))) return content;
  const converted = Buffer.allocUnsafe(content.length + lines.lone);
  let to = 0;
  for (let from = 0; from < content.length; ) {
    const end = content.indexOf(lf, from);
    const next = end < 0 ? content.length : end;
    to += content.copy(converted, to, from, next);
    if (end < 0) break;
    if (content[end - 1] !== cr) converted[to++] = cr;
    converted[to++] = lf;
    from = end + 1;
  }
  return converted;
}

function countLines(content: Buffer): { lone: number; crlf: number } {
  let lone = 0;
  let crlf = 0;
  for (let at = content.indexOf(lf); at >= 0; at = content.indexOf(lf, at + 1)) {
    if (content[at - 1] === cr) crlf++;
    else lone++;
  }
  return { lone, crlf };
}

/** Whether git takes the content for binary: by NUL, a CR that ends no line, or more than one odd byte to 128 printable ones. */
function isBinary(content: Buffer): boolean {
  let printable = 0;
  let odd = 0;
  for (let at = 0; at < content.length; at++) {
    const byte = content[at] as number;
    if (byte === 0) return true;
    if (byte === cr) {
      if (content[at + 1] !== lf) return true;
      at++;
    } else if (byte === lf) continue;
    // Backspace, tab, form feed and escape pass for text; the last byte may be DOS's end of file.
    else if (byte === 8 || byte === 9 || byte === 12 || byte === 27 || (byte >= 32 && byte !== 127)) printable++;
    else if (byte !== 26 || at < content.length - 1) odd++;
  }
  return Math.floor(printable / 128) < odd;
}
