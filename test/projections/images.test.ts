import { randomUUID } from 'node:crypto';
import test from 'ava';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { imageQueries } from '../../projections/read-model/images.js';
import { MemoirError } from '../../src/domain/errors.js';
import {
  decideImage,
  evolveImages,
  type ImageCommand,
  type ImageRepository,
  noImagesYet,
} from '../../src/domain/image.js';
import { type ImageFacts, type ImageSearch, imageSearch, withTag } from '../../src/domain/image-name.js';
import { imageStream } from '../../src/domain/streams.js';
import { encodeEvent } from '../../src/eventstore/codec.js';
import { rounds } from '../support/rounds.js';
import { catchUp, openScratch } from './scratch.js';

const hashOf = (n: number) => `sha256:${String(n).padStart(64, '0')}`;
const repositories = ['app', 'app/deep', 'r.x:5000/app'];
const tags = ['', 'latest', 'v1'];

const facts: fc.Arbitrary<ImageFacts> = fc
  .record({
    n: fc.nat(4),
    repository: fc.constantFrom(...repositories),
    tag: fc.constantFrom(...tags),
    own: fc.boolean(),
  })
  .map(({ n, repository, tag, own }) => {
    const hash = hashOf(n);
    // Two repositories may hold the same image, each under a locator of its own.
    return { hash, repository, tag, locator: own ? `${repository}@${hash}` : `keep:${repository}+${n}` };
  });
const anyCommand: fc.Arbitrary<ImageCommand> = fc.oneof(
  { weight: 4, arbitrary: facts.map((image) => ({ kind: 'register' as const, image, now: 1_000 })) },
  { weight: 2, arbitrary: facts.map((image) => ({ kind: 'observe' as const, image, now: 2_000 })) },
  facts.map(({ locator }) => ({ kind: 'forget' as const, locator, reason: '', now: 3_000 })),
);

/** A registration as the rules tell it: nothing is ever removed from the list, what is newer stands further on. */
type Told = { readonly image: ImageFacts; forgotten: boolean };

const searches: ImageSearch[] = [];
for (const repository of [...repositories, 'other']) {
  for (const tag of ['', ':latest', ':v1', ':v2']) {
    for (const n of [undefined, 0, 1]) {
      const text = `${repository}${tag}${n === undefined ? '' : `@${hashOf(n)}`}`;
      const search = imageSearch(text);
      if (search) searches.push(search);
    }
  }
}
for (const text of [hashOf(0), hashOf(1).slice(7), hashOf(9), 'keep:app+0', 'keep:app+9']) {
  const search = imageSearch(text);
  if (search) searches.push(search, withTag(search, 'v1', 'tag'));
}

function matches(search: ImageSearch, { locator, repository, tag, hash }: ImageFacts): boolean {
  if (search.tag !== undefined && search.tag !== tag) return false;
  if (search.locator === locator) return true;
  if (search.repository === undefined && search.hash === undefined) return false;
  return (search.repository ?? repository) === repository && (search.hash ?? hash) === hash;
}

test('every search finds the newest image that holds, and ever matched, as a plain list tells it', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyCommand, { minLength: 1, maxLength: 60 }), async (commands) => {
      const scratch = await openScratch();
      const states = new Map<string, ImageRepository>();
      const told: Told[] = [];
      for (const command of commands) {
        const name = command.kind === 'forget' ? nameOf(command.locator) : command.image.repository;
        const state = states.get(name) ?? noImagesYet;
        const events = decideImage(state, command);
        if (events instanceof MemoirError) continue;
        for (const event of events) {
          await scratch.store.append(imageStream(name), 'any', [encodeEvent(randomUUID(), event, '{"principal":"a"}')]);
          if (event.$typeName === 'memoir.events.v1.ImageForgotten') {
            for (const one of told) if (one.image.locator === event.locator) one.forgotten = true;
          } else if (event.image) {
            const { locator, hash, repository, tag } = event.image;
            told.push({ image: { locator, hash, repository, tag }, forgotten: false });
          }
        }
        states.set(name, evolveImages(state, events));
      }
      const path = scratch.path('rm.sqlite');
      await catchUp(scratch.store, path);
      const db = new Database(path, { readonly: true });
      const images = imageQueries(db);
      for (const search of searches) {
        const matching = told.filter(({ image }) => matches(search, image));
        const newest = matching.filter(({ forgotten }) => !forgotten).at(-1)?.image;
        t.is(images.newest(search)?.locator, newest?.locator, JSON.stringify(search));
        const locators = new Set(matching.map(({ image }) => image.locator));
        t.deepEqual([...images.locators(search)].sort(), [...locators].sort(), JSON.stringify(search));
      }
      for (const repository of ['', ...repositories]) {
        const list = { repository, includeForgotten: true, before: Number.MAX_SAFE_INTEGER, limit: 1_000 };
        const all = told.filter(({ image }) => repository === '' || image.repository === repository);
        const last = all.filter(
          ({ image }, i) =>
            !all.slice(i + 1).some((later) => later.image.locator === image.locator && later.image.tag === image.tag),
        );
        t.deepEqual(
          images.page(list).map(({ locator, tag }) => [locator, tag]),
          last.map(({ image }) => [image.locator, image.tag]).reverse(),
        );
      }
      db.close();
      await scratch.close();
    }),
    { numRuns: rounds(8, 25) },
  );
});

/** The repository in a locator that `facts` made. */
function nameOf(locator: string): string {
  return locator.startsWith('keep:') ? locator.slice('keep:'.length, -2) : locator.slice(0, locator.indexOf('@'));
}

test('of two repositories that registered one locator at the same moment, the first in the log has it', async (t) => {
  const scratch = await openScratch();
  const image = (repository: string): ImageFacts => ({ locator: 'keep:1', hash: hashOf(1), repository, tag: 'v1' });
  const commands: [string, ImageCommand][] = [
    ['one', { kind: 'register', image: image('one'), now: 1 }],
    ['two', { kind: 'register', image: image('two'), now: 2 }],
    ['two', { kind: 'forget', locator: 'keep:1', reason: '', now: 3 }],
  ];
  const states = new Map<string, ImageRepository>();
  for (const [name, command] of commands) {
    const state = states.get(name) ?? noImagesYet;
    const events = decideImage(state, command);
    if (events instanceof MemoirError) throw events;
    for (const event of events) {
      await scratch.store.append(imageStream(name), 'any', [encodeEvent(randomUUID(), event, '{"principal":"a"}')]);
    }
    states.set(name, evolveImages(state, events));
  }
  const path = scratch.path('rm.sqlite');
  await catchUp(scratch.store, path);
  const db = new Database(path, { readonly: true });
  const rows = imageQueries(db).byLocator('keep:1');
  t.deepEqual(
    rows.map(({ repository, forgotten_at }) => [repository, forgotten_at]),
    [['one', null]],
  );
  db.close();
  await scratch.close();
});
