import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import { type Image, ImageSchema } from '../../gen/memoir/images/v1/image_pb.js';
import type { ImageSearch } from '../../src/domain/image-name.js';
import { repositoryOfImageStream } from '../../src/domain/streams.js';
import { millis } from '../running/millis.js';
import type { Projection } from '../running/projection.js';

/**
 * Docker images: one row for each tag of an image, the last time that it was registered so. Times are in milliseconds since
 * 1970-01-01T00:00Z; `position` is that of the ImageRegistered, so that the greatest is the newest. A locator means one image:
 * where two servers registered it in two repositories at the same moment, the first in the log has it.
 */
export const images: Projection = {
  name: 'images',
  version: 1,
  tables: ['image'],
  schema: `
    CREATE TABLE image (
      position INTEGER PRIMARY KEY,
      locator TEXT NOT NULL,
      hash TEXT NOT NULL,
      repository TEXT NOT NULL,
      tag TEXT NOT NULL,
      registered_at INTEGER NOT NULL,
      forgotten_at INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX image_locator ON image (locator, tag);
    CREATE INDEX image_hash ON image (hash, repository);
    CREATE INDEX image_held ON image (forgotten_at, position);
    CREATE INDEX image_of_repository ON image (repository, position);
    CREATE INDEX image_held_of_repository ON image (repository, forgotten_at, position);
    CREATE INDEX image_tag ON image (repository, tag, forgotten_at, position);
  `,
  prepare(db) {
    const owner = db.prepare('SELECT repository FROM image WHERE locator = ? LIMIT 1').pluck();
    const remove = db.prepare('DELETE FROM image WHERE locator = ? AND tag = ?');
    const insert = db.prepare(`
      INSERT INTO image (position, locator, hash, repository, tag, registered_at) VALUES (?, ?, ?, ?, ?, ?)`);
    const forgotten = db.prepare(`
      UPDATE image SET forgotten_at = ? WHERE locator = ? AND +repository = ? AND +forgotten_at IS NULL`);
    return {
      ImageRegistered({ image, registeredAt }, { position }) {
        if (!image) return;
        const { locator, hash, repository, tag } = image;
        if (((owner.get(locator) as string | undefined) ?? repository) !== repository) return;
        remove.run(locator, tag);
        insert.run(position, locator, hash, repository, tag, millis(registeredAt));
      },
      ImageForgotten({ locator, forgottenAt }, { stream }) {
        forgotten.run(millis(forgottenAt), locator, repositoryOfImageStream(stream));
      },
    };
  },
};

/** A row of the table `image`. */
export type ImageRow = {
  readonly position: number;
  readonly locator: string;
  readonly hash: string;
  readonly repository: string;
  readonly tag: string;
  readonly registered_at: number;
  readonly forgotten_at: number | null;
};

/** The image that a row holds. */
export function imageFromRow({ locator, hash, repository, tag, registered_at: registeredAt }: ImageRow): Image {
  return create(ImageSchema, { locator, hash, repository, tag, registeredAt: timestampFromMs(registeredAt) });
}

/** Which images to list. */
export type ImageListing = {
  /** Name of the repository; empty for all. */
  readonly repository: string;
  readonly includeForgotten: boolean;
  /** Only those that are older than this position. */
  readonly before: number;
  readonly limit: number;
};

/** Reads of the images. */
export function imageQueries(db: Database.Database) {
  const byLocator = db.prepare('SELECT * FROM image WHERE locator = ? ORDER BY position DESC');
  const statements = new Map<string, Database.Statement>();
  function all(sql: string, search: object): ImageRow[] {
    const statement = statements.get(sql) ?? db.prepare(sql);
    statements.set(sql, statement);
    return statement.all(search) as ImageRow[];
  }

  return {
    /** All tags of the image with a locator, the newest first, forgotten or not. */
    byLocator: (locator: string) => byLocator.all(locator) as ImageRow[],
    /** The newest image that a search means and that is not forgotten. */
    newest(search: ImageSearch): ImageRow | undefined {
      const rows = conditions(search).flatMap((condition) =>
        all(`SELECT * FROM image WHERE ${held(condition)} ORDER BY position DESC LIMIT 1`, search),
      );
      return rows.sort((a, b) => b.position - a.position)[0];
    },
    /** Locators of all images that a search means, forgotten ones included. */
    locators: (search: ImageSearch): ReadonlySet<string> =>
      new Set(
        conditions(search)
          .flatMap((condition) => all(`SELECT locator FROM image WHERE ${condition}`, search))
          .map(({ locator }) => locator),
      ),
    /** Images, the newest first. */
    page({ repository, includeForgotten, before, limit }: ImageListing): ImageRow[] {
      const which = [
        'position < @before',
        ...(repository === '' ? [] : ['repository = @repository']),
        ...(includeForgotten ? [] : ['forgotten_at IS NULL']),
      ].join(' AND ');
      const sql = `SELECT * FROM image WHERE ${which} ORDER BY position DESC LIMIT @limit`;
      return all(sql, { repository, before, limit });
    },
  };
}

/** SQL of what a search means: the image with the locator, or those with the parts of the name. Each can use an index. */
function conditions({ repository, tag, hash, hashPrefix }: ImageSearch): readonly string[] {
  const ofTag = tag === undefined ? [] : ['tag = @tag'];
  const ofName = [...(repository === undefined ? [] : ['repository = @repository']), ...(hash ? ['hash = @hash'] : [])];
  const byLocator = ['locator = @locator', ...ofTag].join(' AND ');
  return [
    byLocator,
    ...(ofName.length === 0 ? [] : [[...ofName, ...ofTag].join(' AND ')]),
    // "g" comes behind every hexadecimal digit.
    ...(hashPrefix === undefined ? [] : ["hash >= @hashPrefix AND hash < @hashPrefix || 'g'"]),
  ];
}

/** The condition, of images that are not forgotten. Where it means few images by itself, it keeps the index that finds them. */
function held(condition: string): string {
  return `${condition} AND ${/locator|hash/.test(condition) ? '+' : ''}forgotten_at IS NULL`;
}
