import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';

/** After how many bytes that came and went this thread looks for what is garbage among its young objects. */
const lookedEvery = 8 * 1024 * 1024;

/** Bytes from which on a message counts: what is smaller is mostly no memory of its own. */
const least = 16 * 1024;

let bytes = 0;
let look: (() => void) | undefined;

/**
 * Tells of a message that came or went, whose bytes are garbage soon. V8 looks for garbage when its own room is full, of which the bytes of messages are no part: some 60 MiB of these come together
 * before it looks, at everything then. To look at what is young alone takes a millisecond, and finds nearly all of it.
 */
export function passed(length: number): void {
  if (length < least) return;
  bytes += length;
  if (bytes < lookedEvery) return;
  bytes = 0;
  // Not in the midst of what still has hold of them.
  look ??= collector();
  setImmediate(look);
}

/** What has V8 look at young objects; nothing where it cannot be asked to. */
function collector(): () => void {
  v8.setFlagsFromString('--expose-gc');
  try {
    const collect = runInNewContext('gc') as (how: { readonly type: 'minor' }) => void;
    return () => collect({ type: 'minor' });
  } catch {
    return () => undefined;
  } finally {
    v8.setFlagsFromString('--no-expose-gc');
  }
}
