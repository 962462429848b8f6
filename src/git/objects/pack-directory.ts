import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { MemoirError } from '../../domain/errors.js';
import type { HashAlgorithm } from '../hash.js';
import { errno } from '../problem.js';
import { type MultiPackIndex, openMultiPackIndex } from './multi-pack-index.js';
import type { GitObject, ObjectType } from './object.js';
import { openPack, type Pack, type PackSurroundings } from './pack.js';
import { openPackIndex, type PackIndex } from './pack-index.js';
import type { PageCache } from './paged-file.js';

/** The packs of one object directory. */
export type PackDirectory = {
  typeOf(id: Buffer): ObjectType | undefined;
  read(id: Buffer): GitObject | undefined;
  /** See `Pack.fleetingAt`. */
  fleeting(id: Buffer): GitObject | undefined;
  /** Ids that begin with the given digits, at most `limit` of them. */
  withPrefix(prefix: string, limit: number): string[];
  /** Looks for packs that came or went. */
  rescan(): void;
  close(): void;
};

/** Most packs, and as many indexes, that are open at a time. */
const mostOpen = 128;

/**
 * The packs under `directory/pack`, through the multi-pack index where there is a sound one.
 * @param fail - makes the error to throw for malformed files
 * @param largest - most bytes of an object
 * @param only - ending of a file that there must be beside a pack, or the pack does not count; the multi-pack index does not then either
 */
export function openPackDirectory(
  directory: string,
  hash: HashAlgorithm,
  cache: PageCache,
  elsewhere: Pick<PackSurroundings, 'read' | 'typeOf'>,
  fail: (what: string, cause?: unknown) => Error,
  largest?: number,
  only?: string,
): PackDirectory {
  const path = join(directory, 'pack');
  const packs = new LRUCache<string, Pack>({ max: mostOpen, dispose: (pack) => pack.close() });
  const indexes = new LRUCache<string, PackIndex>({ max: mostOpen, dispose: (index) => index.close() });
  let multi: MultiPackIndex | undefined;
  /** Names, without ending, of the packs that the multi-pack index does not cover; the one with the last hit first. */
  let single: string[] = [];

  function index(name: string): PackIndex {
    let found = indexes.get(name);
    if (!found) {
      found = openPackIndex(join(path, `${name}.idx`), hash, cache, (what) => fail(`pack index ${name}.idx: ${what}`));
      indexes.set(name, found);
    }
    return found;
  }

  function pack(name: string): Pack {
    let found = packs.get(name);
    if (!found) {
      const around: PackSurroundings = { ...elsewhere, offsetOf: (id) => offsetIn(name, id) };
      const failIn = (what: string, cause?: unknown) => fail(`pack ${name}.pack: ${what}`, cause);
      found = openPack(join(path, `${name}.pack`), hash.bytes, cache, around, failIn, largest);
      packs.set(name, found);
    }
    return found;
  }

  function offsetIn(name: string, id: Buffer, often = false): number | undefined {
    const { ids, offset } = index(name);
    const place = often ? ids.findOften(id) : ids.find(id);
    return place < 0 ? undefined : offset(place);
  }

  function locate(id: Buffer, often = false): { name: string; offset: number } | undefined {
    const place = (often ? multi?.ids.findOften(id) : multi?.ids.find(id)) ?? -1;
    if (multi && place >= 0) {
      const { pack: number, offset } = multi.location(place);
      return { name: stem(multi.packs[number] ?? ''), offset };
    }
    for (let i = 0; i < single.length; i++) {
      const name = single[i] as string;
      const offset = offsetIn(name, id, often);
      if (offset === undefined) continue;
      if (i > 0) single = [name, ...single.filter((other) => other !== name)];
      return { name, offset };
    }
    return undefined;
  }

  function rescan(): void {
    const files = new Set(listOf(path));
    const names = new Set(
      [...files]
        .filter((file) => file.endsWith('.idx') && files.has(`${stem(file)}.pack`))
        .map(stem)
        .filter((name) => only === undefined || files.has(name + only)),
    );
    for (const name of [...packs.keys(), ...indexes.keys()]) {
      if (names.has(name)) continue;
      packs.delete(name);
      indexes.delete(name);
    }
    multi?.close();
    multi = only === undefined && files.has('multi-pack-index') ? openMulti(names) : undefined;
    const covered = new Set(multi?.packs.map(stem));
    single = [...names].filter((name) => !covered.has(name)).sort();
  }

  /** Every pack has an index of its own too, so a multi-pack index that is unsound or names lost packs is not needed. */
  function openMulti(there: ReadonlySet<string>): MultiPackIndex | undefined {
    try {
      const opened = openMultiPackIndex(join(path, 'multi-pack-index'), hash, cache, fail);
      if (opened.packs.every((name) => there.has(stem(name)))) return opened;
      // What it finds in a lost pack may be in another one too.
      opened.close();
      return undefined;
    } catch (error) {
      if (error instanceof MemoirError || errno(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  rescan();
  return {
    typeOf(id) {
      const at = locate(id);
      return at && pack(at.name).typeAt(at.offset);
    },
    read(id) {
      const at = locate(id);
      return at && pack(at.name).readAt(at.offset);
    },
    fleeting(id) {
      const at = locate(id, true);
      return at && pack(at.name).fleetingAt(at.offset);
    },
    withPrefix(prefix, limit) {
      const bytes = Buffer.from(prefix.length % 2 ? `${prefix}0` : prefix, 'hex');
      const found: string[] = [];
      for (const ids of [...(multi ? [multi.ids] : []), ...single.map((name) => index(name).ids)]) {
        for (let place = ids.lowerBound(bytes); place < ids.count && found.length < limit; place++) {
          const id = ids.at(place).toString('hex');
          if (!id.startsWith(prefix)) break;
          found.push(id);
        }
      }
      return found;
    },
    rescan,
    close() {
      packs.clear();
      indexes.clear();
      multi?.close();
    },
  };
}

function stem(file: string): string {
  return file.replace(/\.(idx|pack)$/, '');
}

function listOf(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errno(error) === 'ENOENT') return [];
    throw error;
  }
}
