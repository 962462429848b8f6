import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceDurably } from '../../files/durable-file.js';
import { fileKind } from '../file-kind.js';

/** What refs of a remote named, and no longer do: a file beside the mirror's refs. */
export type LostTips = {
  /** Since when it is kept, in milliseconds since 1970. */
  readonly since: number;
  /** When an id, in hexadecimal digits, was seen to be named no more. */
  readonly lost: ReadonlyMap<string, number>;
};

const fileIn = (path: string) => join(path, 'memoir-lost');

/** Reads it; undefined if nothing was ever kept, or nobody can read it, so that it begins anew. */
export function readLostTips(path: string): LostTips | undefined {
  if (fileKind(fileIn(path)) !== 'file') return undefined;
  const [first = '', ...lines] = readFileSync(fileIn(path), 'latin1').split('\n');
  const lost = new Map<string, number>();
  for (const line of lines) {
    const [, id, at] = /^([0-9a-f]{40,64}) (\d{1,16})$/.exec(line) ?? [];
    if (id !== undefined) lost.set(id, Number(at));
  }
  return /^\d{1,16}$/.test(first) ? { since: Number(first), lost } : undefined;
}

/** Keeps it. @throws as `replaceDurably` */
export function keepLostTips(path: string, { since, lost }: LostTips): void {
  replaceDurably(fileIn(path), `${since}\n${[...lost].map(([id, at]) => `${id} ${at}\n`).join('')}`);
}

/**
 * Takes note of the refs of a remote, before they take the place of those of before.
 * @param now - wall-clock time in milliseconds
 */
export function noteLostTips(path: string, before: Iterable<string>, after: ReadonlySet<string>, now: number): void {
  const known = readLostTips(path);
  const lost = new Map(known?.lost);
  let changed = known === undefined;
  for (const id of after) changed = lost.delete(id) || changed;
  for (const id of before) {
    if (after.has(id) || lost.has(id)) continue;
    lost.set(id, now);
    changed = true;
  }
  if (changed) keepLostTips(path, { since: known?.since ?? now, lost });
}

/** Whether anything was lost as long ago as that, and all that was lost since is known. */
export function hasLostBefore(path: string, time: number): boolean {
  const known = readLostTips(path);
  return known !== undefined && known.since <= time && [...known.lost.values()].some((at) => at <= time);
}
