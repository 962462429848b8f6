import v8 from 'node:v8';

/** Bytes of V8's three halves of the room for young objects that a thread has unless V8 is told otherwise, in MiB: two it copies between, and one for large ones. */
const halves = 3;

let said: number | undefined;
let taken = false;

/**
 * How much room V8 gives the young objects of a thread, in MiB, for the `resourceLimits` of a Worker. The flag --max-semi-space-size holds for every thread of a process, and whatever a thread
 * asks for; so it is taken back once the thread that was started with it has its room, and each thread is told by itself what it has: `ofIts`, or what the flag said.
 */
export function youngSpace(ofIts?: number): { readonly maxYoungGenerationSizeMb?: number } {
  if (!taken) {
    taken = true;
    said = saidBy(process.execArgv);
    if (said !== undefined) v8.setFlagsFromString('--max-semi-space-size=0');
  }
  const most = ofIts ?? (said === undefined ? undefined : said * halves);
  return most === undefined ? {} : { maxYoungGenerationSizeMb: most };
}

/** What arguments of Node.js say of it, the last of them, in MiB; undefined if they say nothing. */
function saidBy(args: readonly string[]): number | undefined {
  const found = args.map((one) => /^--max[-_]semi[-_]space[-_]size=(\d+)$/.exec(one)?.[1]).filter(Boolean);
  const last = Number(found.at(-1) ?? 0);
  return last > 0 ? last : undefined;
}
