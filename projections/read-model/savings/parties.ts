import type Database from 'better-sqlite3';
import { remembering } from '../../../src/domain/remembering.js';
import { labelsText } from '../../../src/domain/reuse.js';

/** Most of them that are kept at hand. */
const cacheSize = 20_000;

/** Who, where and what. */
export type Party = { readonly principal: string; readonly repository: string; readonly script: string };

/** The numbers of parties, in the order in which the log comes to them. */
export function partyNumbers(db: Database.Database) {
  const select = db
    .prepare('SELECT id FROM saving_party WHERE principal = ? AND repository = ? AND script = ?')
    .pluck();
  const selectOne = db.prepare('SELECT principal, repository, script FROM saving_party WHERE id = ?');
  const insert = db.prepare('INSERT INTO saving_party (principal, repository, script) VALUES (?, ?, ?)');
  const numbers = remembering((key: string) => {
    const names = JSON.parse(key) as [string, string, string];
    return (select.get(...names) as number | undefined) ?? Number(insert.run(...names).lastInsertRowid);
  }, cacheSize);
  const of = remembering((id: number) => selectOne.get(id) as Party, cacheSize);
  return {
    number: ({ principal, repository, script }: Party) => numbers(JSON.stringify([principal, repository, script])),
    of,
  };
}

/** The numbers of the labels of workers, in the order in which the log comes to them. */
export function placeNumbers(db: Database.Database) {
  const select = db.prepare('SELECT id FROM saving_place WHERE labels = ?').pluck();
  const insert = db.prepare('INSERT INTO saving_place (labels) VALUES (?)');
  const numbers = remembering(
    (text: string) => (select.get(text) as number | undefined) ?? Number(insert.run(text).lastInsertRowid),
    cacheSize,
  );
  return (labels: Readonly<Record<string, string>>) => numbers(labelsText(labels) || '[]');
}
