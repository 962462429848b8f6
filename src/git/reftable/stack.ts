import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../../domain/errors.js';
import type { HashAlgorithm } from '../hash.js';
import { createPageCache } from '../objects/paged-file.js';
import { errno } from '../problem.js';
import { followReplaced } from '../replaced-file.js';
import type { Fail } from './block.js';
import { openTable, type RefRecord, type Table } from './table.js';

/** What a ref is: the object that it names, or the ref that it stands for. */
export type RefContent = Exclude<RefRecord, { deleted: true }>;

/** The refs of a repository, or of one of its work trees, that are kept in tables, as they are at the moment of each call. */
export type Stack = {
  /** What a full ref name is; undefined if there is none. */
  get(name: string): RefContent | undefined;
  /** All refs. */
  entries(): Iterable<readonly [name: string, content: RefContent]>;
  close(): void;
};

/** Bytes of the tables that are kept in memory. */
const keptBytes = 4 * 1024 * 1024;

/** The tables that the list names, the newest first. They stay open for the next list, which names most of them again. */
type Tables = { readonly tables: readonly Table[]; close(): void };

const none: Tables = { tables: [], close: () => undefined };

/**
 * The stack of reftables in a directory: `tables.list` names the tables, the oldest first, and what a newer one says of a ref counts. Whoever
 * writes puts another list in its place, with another table at its end, or one for several; those that nothing names any more are removed.
 * @param now - wall-clock time in milliseconds
 * @param fail - makes the error to throw for what is damaged
 */
export function openStack(directory: string, hash: HashAlgorithm, now: () => number, fail: Fail): Stack {
  const listPath = join(directory, 'tables.list');
  const cache = createPageCache(keptBytes);
  let opened = new Map<string, Table>();

  function listed(): string[] | undefined {
    try {
      return readFileSync(listPath, 'utf8')
        .split('\n')
        .filter((name) => name !== '');
    } catch (error) {
      if (errno(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  function load(): Tables | undefined {
    const names = listed();
    if (!names) return undefined;
    const tables = new Map<string, Table>();
    for (const name of names) {
      const table = opened.get(name) ?? openOne(name, names);
      if (!table) return undefined;
      opened.set(name, table);
      tables.set(name, table);
    }
    for (const [name, table] of opened) if (!tables.has(name)) table.close();
    opened = tables;
    return { tables: [...tables.values()].reverse(), close: () => undefined };
  }

  /** Opens a table of a list; undefined if it is gone because there is another list. */
  function openOne(name: string, list: readonly string[]): Table | undefined {
    if (/[/\0]/.test(name) || name === '..') throw fail(`tables.list names ${quote(name)}`);
    try {
      return openTable(join(directory, name), hash, cache, (what) => fail(`the reftable ${quote(name)}: ${what}`));
    } catch (error) {
      if (errno(error) !== 'ENOENT') throw error;
      if (listed()?.join('\n') !== list.join('\n')) return undefined;
      throw fail(`tables.list names ${quote(name)}, which is not there`);
    }
  }

  const list = followReplaced(listPath, now, load, none);

  return {
    get(name) {
      for (const table of list.current().tables) {
        const record = table.get(name);
        if (record) return 'deleted' in record ? undefined : record;
      }
      return undefined;
    },
    *entries() {
      const told = new Set<string>();
      for (const table of list.current().tables) {
        for (const { name, record } of table.entries()) {
          if (told.has(name)) continue;
          told.add(name);
          if (!('deleted' in record)) yield [name, record];
        }
      }
    },
    close() {
      list.close();
      for (const table of opened.values()) table.close();
      opened.clear();
    },
  };
}
