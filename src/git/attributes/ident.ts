const dollar = 0x24;
const newline = 0x0a;
const space = 0x20;

/**
 * The content with the id of its blob in every `$Id$`, as `ident_to_worktree` of git's convert.c has it. One that is filled in already is
 * filled in anew, unless it is of another system's making: with a space before its end.
 */
export function withIdent(content: Buffer, oid: string): Buffer {
  const parts: Buffer[] = [];
  const filled = Buffer.from(`Id: ${oid} $`);
  let copied = 0;
  let at = 0;
  for (;;) {
    const found = content.indexOf(dollar, at);
    if (found < 0) break;
    at = found + 1;
    if (content.length - at < 3 || content[at] !== 0x49 || content[at + 1] !== 0x64) continue;
    const third = content[at + 2];
    let end = at + 2;
    if (third === 0x3a) {
      end = content.indexOf(dollar, at + 3);
      if (end < 0) break;
      if (within(content, newline, at + 3, end)) continue;
      if (within(content, space, at + 4, end - 1)) continue;
    } else if (third !== dollar) continue;
    parts.push(content.subarray(copied, at), filled);
    at = end + 1;
    copied = at;
  }
  return copied === 0 ? content : Buffer.concat([...parts, content.subarray(copied)]);
}

function within(content: Buffer, byte: number, from: number, to: number): boolean {
  const at = content.indexOf(byte, from);
  return at >= 0 && at < to;
}
