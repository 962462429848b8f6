import test from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../src/domain/errors.js';
import {
  decideImage,
  evolveImages,
  holderOf,
  type ImageCommand,
  type ImageEvent,
  type ImageRepository,
  noImagesYet,
} from '../../src/domain/image.js';
import type { ImageFacts } from '../../src/domain/image-name.js';

const image = (n: number, tag = 'latest'): ImageFacts => ({
  locator: `r/app@${n}`,
  hash: `sha256:${String(n).padStart(64, '0')}`,
  repository: 'app',
  tag,
});
const register = (facts: ImageFacts): ImageCommand => ({ kind: 'register', image: facts, now: 1_000 });
const observe = (facts: ImageFacts): ImageCommand => ({ kind: 'observe', image: facts, now: 1_000 });
const forget = (n: number): ImageCommand => ({ kind: 'forget', locator: image(n).locator, reason: 'why', now: 1_000 });

function after(...commands: readonly ImageCommand[]): ImageRepository {
  return commands.reduce((state, command) => {
    const events = decideImage(state, command);
    if (events instanceof MemoirError) throw events;
    return evolveImages(state, events);
  }, noImagesYet);
}

function decided(state: ImageRepository, command: ImageCommand): string {
  const events = decideImage(state, command);
  if (events instanceof MemoirError) return `${events.code} ${events.reason}`;
  return events.map(({ $typeName }) => $typeName.slice('memoir.events.v1.'.length)).join(',');
}

const [a, b] = [image(1), image(2)];
const otherHash = { ...a, hash: b.hash };
for (const [what, state, command, expected] of [
  ['a first registration', [], register(a), 'ImageRegistered'],
  ['the same again', [register(a)], register(a), ''],
  ['the same again after a newer one', [register(a), register(b)], register(a), ''],
  ['another tag', [register(a)], register(image(1, 'v1')), 'ImageRegistered'],
  ['another hash', [register(a)], register(otherHash), 'ALREADY_EXISTS LOCATOR_TAKEN'],
  [
    'another hash after it was forgotten',
    [register(a), forget(1)],
    register(otherHash),
    'ALREADY_EXISTS LOCATOR_TAKEN',
  ],
  ['again after it was forgotten', [register(a), forget(1)], register(a), 'ImageRegistered'],
  ['what a registry says first', [], observe(a), 'ImageRegistered'],
  ['what it says again', [observe(a)], observe(a), ''],
  ['what is registered already', [register(a)], observe(a), ''],
  ['a tag that moved on', [observe(a)], observe(b), 'ImageRegistered'],
  ['a tag that moved back', [observe(a), observe(b)], observe(a), 'ImageRegistered'],
  [
    'a registry that names what was forgotten',
    [observe(a), forget(1)],
    observe(a),
    'FAILED_PRECONDITION IMAGE_FORGOTTEN',
  ],
  ['the holder after the newer one was forgotten', [observe(a), observe(b), forget(2)], observe(a), ''],
  ['an image that was registered with its id', [register(otherHash)], observe({ ...a, tag: 'v1' }), 'ImageRegistered'],
  ['forgetting', [register(a)], forget(1), 'ImageForgotten'],
  ['forgetting again', [register(a), forget(1)], forget(1), ''],
  ['forgetting what nobody knows', [register(a)], forget(2), 'NOT_FOUND IMAGE_NOT_FOUND'],
] as const) {
  test(`${what}: ${expected || 'nothing'}`, (t) => {
    t.is(decided(after(...state), command), expected);
  });
}

test('an image that was registered with its id keeps it when a registry names it', (t) => {
  const state = after(register(otherHash), observe({ ...a, tag: 'v1' }));
  t.is(holderOf(state, 'v1')?.image.hash, otherHash.hash);
});

test('commands never contradict the events before them, and doing one twice is doing it once', (t) => {
  const facts = fc
    .record({ n: fc.nat(3), tag: fc.constantFrom('', 'latest', 'v1') })
    .map(({ n, tag }) => image(n, tag));
  const command = fc.oneof(facts.map(register), facts.map(observe), fc.nat(3).map(forget));
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
      let state = noImagesYet;
      const log: ImageEvent[] = [];
      for (const one of commands) {
        const events = decideImage(state, one);
        if (events instanceof MemoirError) continue;
        state = evolveImages(state, events);
        log.push(...events);
        t.is(decided(state, one), '');
        if (one.kind === 'observe') t.is(holderOf(state, one.image.tag)?.image.locator, one.image.locator);
        if (one.kind === 'forget') t.is(state.images.get(one.locator)?.tags.size, 0);
      }
      t.deepEqual(evolveImages(noImagesYet, log), state);
      t.is(state.revision, log.length - 1);
    }),
  );
});
