import type { Offer } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { hasKind, type Least, leastOf, type Requirements, type WantedSecrets } from './requirements.js';

/** In how many classes each doubling of a size is divided, so that a class is at most a 16th of its size wide. */
const classesOfDoubling = 16;

/** The smallest number of the class that a number is in: numbers up to 32 have a class each. */
export function classOf(size: number): number {
  return size - (size % widthOf(size));
}

/** How many numbers the class has that a number is in. */
function widthOf(size: number): number {
  let width = 1;
  while (size >= width * classesOfDoubling * 2) width *= 2;
  return width;
}

/**
 * The shape of what a job asks for: the same with sizes rounded down to the smallest of their class. Jobs of one shape stand in one
 * list of the queue, so that few lists are looked at, however different the sizes are that jobs ask for.
 */
export function shapeOf(wanted: Requirements): Requirements {
  return {
    repository: wanted.repository,
    image: wanted.image,
    labels: wanted.labels,
    cores: classOf(wanted.cores),
    ramMb: classOf(wanted.ramMb),
    scratchMb: classOf(wanted.scratchMb),
    ...(wanted.platform !== undefined && { platform: wanted.platform }),
    ...(wanted.sandbox !== undefined && { sandbox: wanted.sandbox }),
    ...(wanted.codePaths && { codePaths: true }),
    ...(wanted.secrets && { secrets: wanted.secrets }),
  };
}

/** The shape as a text that no other shape has. */
export function shapeKey(shape: Requirements): string {
  const { repository, image, cores, ramMb, scratchMb, labels, platform, sandbox, codePaths, secrets } = shape;
  const named = Object.keys(labels)
    .sort()
    .map((name) => [name, labels[name]]);
  // What most do not ask for is left out, so that their key is short.
  const asksNothing = platform === undefined && sandbox === undefined && !codePaths && !secrets;
  const more = secrets ? [codePaths ?? false, secretsKey(secrets)] : codePaths ? [true] : [];
  const place = asksNothing ? [] : [platform ?? '', sandbox ?? '', ...more];
  return JSON.stringify([repository, image, cores, ramMb, scratchMb, named, ...place]);
}

function secretsKey({ those, to }: WantedSecrets): SecretsKey {
  return [
    those.map(({ name, grant }) => [name, grant] as const).sort((a, b) => (a.join('@') < b.join('@') ? -1 : 1)),
    to,
  ];
}

type SecretsKey = readonly [those: readonly (readonly [name: string, grant: string])[], to: readonly string[]];

/** The shape that `shapeKey` made a text of. */
export function shapeOfKey(key: string): Requirements {
  const [repository, image, cores, ramMb, scratchMb, named, platform = '', sandbox = '', codePaths, secrets] =
    JSON.parse(key) as [
      string,
      boolean,
      number,
      number,
      number,
      [string, string][],
      string?,
      string?,
      boolean?,
      SecretsKey?,
    ];
  const place = {
    ...(platform !== '' && { platform }),
    ...(sandbox !== '' && { sandbox }),
    ...(codePaths && { codePaths: true as const }),
    ...(secrets && { secrets: { those: secrets[0].map(([name, grant]) => ({ name, grant })), to: secrets[1] } }),
  };
  return { repository, image, cores, ramMb, scratchMb, labels: Object.fromEntries(named), ...place };
}

/** Which jobs of a shape an offer fits: all, none, or some, as their sizes within the classes are. */
export function fitsShape(offer: Offer | undefined, shape: Requirements): 'all' | 'some' | 'none' {
  return hasKind(offer, shape) ? fitsSizesOf(leastOf(offer), shape) : 'none';
}

/** Which jobs of a shape sizes suffice for, whatever else they ask for. */
export function fitsSizesOf(has: Least, shape: Least): 'all' | 'some' | 'none' {
  let all = true;
  for (const size of sizes) {
    if (shape[size] > has[size]) return 'none';
    if (shape[size] + widthOf(shape[size]) - 1 > has[size]) all = false;
  }
  return all ? 'all' : 'some';
}

const sizes: readonly (keyof Least)[] = ['cores', 'ramMb', 'scratchMb'];
