import { create } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { unrunnable } from '../../../src/domain/placement/nearest.js';
import { fits, type Requirements, requirementsOf, unmetBy } from '../../../src/domain/placement/requirements.js';
import { classOf, fitsShape, shapeKey, shapeOf, shapeOfKey } from '../../../src/domain/placement/shape.js';
import { rounds } from '../../support/rounds.js';

const nothing: Requirements = { repository: 'r', image: false, cores: 0, ramMb: 0, scratchMb: 0, labels: {} };
const offer = create(OfferSchema, { cores: 8, ramMb: 16_384n, scratchMb: 100n, labels: { gpu: 'a100', zone: 'b' } });
const withImages = create(OfferSchema, { imageRuntimes: ['podman'] });

for (const [what, has, wanted, unmet] of [
  ['what asks for nothing is given to whoever offers nothing', undefined, {}, []],
  ['what is offered to the last bit fits', offer, { cores: 8, ramMb: 16_384, scratchMb: 100 }, []],
  ['one core too few', offer, { cores: 9 }, ['9 cores (8)']],
  ['a core is asked for of nothing', undefined, { cores: 1 }, ['1 core (none)']],
  ['an image needs what runs it', offer, { image: true }, ['a runtime for images (none)']],
  ['an image and what runs it', withImages, { image: true }, []],
  ['labels that are there', offer, { labels: { zone: 'b', gpu: 'a100' } }, []],
  ['a label of another value', offer, { labels: { gpu: 'h100' } }, ['the label gpu=h100 (gpu=a100)']],
  [
    'a label that every object seems to have',
    offer,
    { labels: { constructor: 'x' } },
    ['the label constructor=x (none)'],
  ],
  [
    'every condition that fails is named',
    offer,
    { cores: 64, ramMb: 20_000, scratchMb: 101, image: true, labels: { b: '1', a: '2' } },
    [
      '64 cores (8)',
      '20000 MiB of RAM (16384)',
      '101 MiB of scratch disk (100)',
      'a runtime for images (none)',
      'the label a=2 (none)',
      'the label b=1 (none)',
    ],
  ],
] as const) {
  test(what, (t) => {
    const all = { ...nothing, ...wanted } as Requirements;
    t.deepEqual(
      unmetBy(has, all).map((one) => `${one.wanted} (${one.offered})`),
      [...unmet],
    );
    t.is(fits(has, all), unmet.length === 0);
  });
}

test('a job asks for what its request has, and for its minima once there are any', (t) => {
  const job = {
    repository: 'r',
    dockerImageLocator: 'i@sha256:1',
    requiredLabels: { gpu: 'a' },
    runtimeConstraints: { minCoresPerNode: 4, minRamMbPerNode: 5, minScratchMbPerNode: 6 },
  };
  const asked = { repository: 'r', image: true, labels: { gpu: 'a' } };
  t.deepEqual(requirementsOf(job), { ...asked, cores: 4, ramMb: 5, scratchMb: 6 });
  const minima = { cores: 7, ramMb: 8n, scratchMb: 0n };
  t.deepEqual(requirementsOf({ ...job, minima }), { ...asked, cores: 7, ramMb: 8, scratchMb: 0 });
});

const size = fc.oneof(fc.nat(70), fc.nat(2 ** 31 - 1), fc.constantFrom(31, 32, 33, 2 ** 40));
const labels = fc.dictionary(fc.constantFrom('a', 'b', 'constructor'), fc.constantFrom('1', '2'), { maxKeys: 2 });
const anyWanted: fc.Arbitrary<Requirements> = fc.record({
  repository: fc.constantFrom('r', '"'),
  image: fc.boolean(),
  cores: size,
  ramMb: size,
  scratchMb: size,
  labels,
});
const anyOffer = fc.option(
  fc
    .record({ cores: size, ramMb: size, scratchMb: size, labels, imageRuntimes: fc.constantFrom([], ['podman']) })
    .map(({ ramMb, scratchMb, imageRuntimes, ...rest }) =>
      create(OfferSchema, {
        ...rest,
        imageRuntimes: [...imageRuntimes],
        ramMb: BigInt(ramMb),
        scratchMb: BigInt(scratchMb),
      }),
    ),
  { nil: undefined },
);

test('an offer fits exactly where no condition is unmet, and what fits less than another fits no more', (t) => {
  fc.assert(
    fc.property(anyOffer, anyWanted, (has, wanted) => {
      t.is(fits(has, wanted), unmetBy(has, wanted).length === 0);
      if (has && fits(undefined, wanted)) t.true(fits(has, wanted));
    }),
  );
  t.pass();
});

test('what an offer says to a shape holds for every job of it', (t) => {
  fc.assert(
    fc.property(anyOffer, anyWanted, (has, wanted) => {
      const shape = shapeOf(wanted);
      t.deepEqual(shapeOf(shape), shape);
      t.deepEqual(shapeOfKey(shapeKey(shape)), { ...shape, labels: { ...shape.labels } });
      const how = fitsShape(has, shape);
      if (how === 'all') t.true(fits(has, wanted));
      if (how === 'none') t.false(fits(has, wanted));
      // An offer in the midst of a class decides by the job itself, and the job of its smallest sizes is given.
      if (how === 'some') t.true(fits(has, shape));
    }),
    { numRuns: rounds(150, 500) },
  );
});

test('classes are in order, small numbers have their own, and none is wider than a 16th of its numbers', (t) => {
  fc.assert(
    fc.property(size, size, (a, b) => {
      const [low, high] = a < b ? [a, b] : [b, a];
      t.true(classOf(low) <= classOf(high));
      t.true(classOf(a) <= a && a - classOf(a) <= a / 16);
      if (a < 32) t.is(classOf(a), a);
    }),
  );
  t.not(shapeKey(shapeOf({ ...nothing, cores: 1 })), shapeKey(shapeOf({ ...nothing, ramMb: 1 })));
});

test('a job that no worker could run names every condition that fails for the nearest', (t) => {
  const worker = (has: typeof offer | undefined, more = {}) => ({
    offer: has,
    repositories: [],
    drained: false,
    ...more,
  });
  const big = { ...nothing, cores: 64 };
  const seen = (workers: ReturnType<typeof worker>[], wanted: Requirements) =>
    unrunnable(workers, wanted, '15 minutes');
  t.is(seen([worker(offer)], nothing), '');
  t.is(seen([], nothing), 'no worker that names itself was seen in the last 15 minutes');
  t.is(seen([worker(offer), worker(undefined)], big), 'no worker offers 64 cores');
  t.is(seen([worker(offer), worker(create(OfferSchema, { cores: 64 }))], big), '');
  t.is(
    seen([worker(offer), worker(create(OfferSchema, { cores: 64 }))], { ...big, labels: { gpu: 'a100', zone: 'b' } }),
    'no worker offers all that it asks for: the nearest does not offer 64 cores',
  );
  t.is(seen([worker(offer, { drained: true })], nothing), 'no worker offers not to be drained');
  t.is(seen([worker(offer, { repositories: ['x'] })], big), 'no worker offers 64 cores, to run jobs of r');
});
