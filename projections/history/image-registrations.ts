import { repositoryOfImageStream } from '../../src/domain/streams.js';
import { millis } from '../running/millis.js';
import type { Projection } from '../running/projection.js';

/**
 * Every registration of a docker image under a tag, of which the read model keeps the last: `position` is that of the
 * ImageRegistered, `replaced` that of the next registration of the same, `forgotten` that of the ImageForgotten. Times are in
 * milliseconds since 1970-01-01T00:00Z.
 */
export const imageRegistrations: Projection = {
  name: 'image-registrations',
  version: 1,
  tables: ['image_registration'],
  schema: `
    CREATE TABLE image_registration (
      position INTEGER PRIMARY KEY,
      locator TEXT NOT NULL,
      hash TEXT NOT NULL,
      repository TEXT NOT NULL,
      tag TEXT NOT NULL,
      registered_at INTEGER NOT NULL,
      replaced INTEGER,
      forgotten INTEGER,
      forgotten_at INTEGER
    ) STRICT;
    CREATE INDEX image_registration_locator ON image_registration (locator, tag);
    CREATE INDEX image_registration_hash ON image_registration (hash, repository);
    CREATE INDEX image_registration_tag ON image_registration (repository, tag, position);
    CREATE INDEX image_registration_repository ON image_registration (repository, position);
  `,
  prepare(db) {
    const owner = db.prepare('SELECT repository FROM image_registration WHERE locator = ? LIMIT 1').pluck();
    const replace = db.prepare(
      'UPDATE image_registration SET replaced = ? WHERE locator = ? AND tag = ? AND replaced IS NULL',
    );
    const insert = db.prepare(`
      INSERT INTO image_registration (position, locator, hash, repository, tag, registered_at) VALUES (?, ?, ?, ?, ?, ?)`);
    const forget = db.prepare(`
      UPDATE image_registration SET forgotten = ?, forgotten_at = ?
      WHERE locator = ? AND +repository = ? AND replaced IS NULL AND forgotten IS NULL`);
    return {
      ImageRegistered({ image, registeredAt }, { position }) {
        if (!image) return;
        const { locator, hash, repository, tag } = image;
        if (((owner.get(locator) as string | undefined) ?? repository) !== repository) return;
        replace.run(position, locator, tag);
        insert.run(position, locator, hash, repository, tag, millis(registeredAt));
      },
      ImageForgotten({ locator, forgottenAt }, { stream, position }) {
        forget.run(position, millis(forgottenAt), locator, repositoryOfImageStream(stream));
      },
    };
  },
};
