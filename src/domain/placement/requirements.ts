import type { Offer } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { bubblewrap } from '../ran/ran-in.js';
import { firstUngranted, isSameSecret, type Secret } from '../secrets/grants.js';

/** The least that a job asks of the place where it runs; 0 asks for nothing. RAM and scratch are in MiB. */
export type Least = { readonly cores: number; readonly ramMb: number; readonly scratchMb: number };

/** What a job asks of the worker that is given it. */
export type Requirements = Least & {
  readonly repository: string;
  /** Whether it runs in an image, and so needs what runs images. */
  readonly image: boolean;
  /** Labels that the worker must have: name to value. */
  readonly labels: Readonly<Record<string, string>>;
  /** Platform of the image; absent for any. */
  readonly platform?: string;
  /** What keeps the run apart from the rest of the machine; absent for nothing, and for a job with an image, which is as good. */
  readonly sandbox?: string;
  /** Whether it sees a part of its commit, and so needs a worker that checks out no more; absent for no. */
  readonly codePaths?: true;
  /** Secrets that runs are given; absent for none. */
  readonly secrets?: WantedSecrets;
};

/** Secrets, and whom they must be granted to, of those who want the job: who requested it, who stands for all where the others are not known. */
export type WantedSecrets = { readonly those: readonly Secret[]; readonly to: readonly string[] };

/** What a worker offers, if it offers anything. */
export type Offering = { readonly has: Offer | undefined };

/** What requirements are read from: a job, or the event that requested it. */
type Asking = {
  readonly repository: string;
  readonly owner?: string;
  readonly secrets?: readonly Secret[];
  readonly dockerImageLocator: string;
  readonly requiredLabels: Readonly<Record<string, string>>;
  readonly codePaths?: readonly string[];
  /** What it asks for now; absent as its request has it. */
  readonly minima?: { readonly cores: number; readonly ramMb: bigint; readonly scratchMb: bigint } | undefined;
  readonly runtimeConstraints?:
    | {
        readonly minCoresPerNode?: number | undefined;
        readonly minRamMbPerNode?: number | undefined;
        readonly minScratchMbPerNode?: number | undefined;
        readonly platform?: string;
        readonly sandbox?: string;
      }
    | undefined;
};

/** What a job asks for, with everybody who wants it where that is known. */
export function requirementsOf(job: Asking, interested?: readonly string[]): Requirements {
  const { minima, runtimeConstraints, secrets = [], owner = '' } = job;
  const { platform = '', sandbox = '' } = runtimeConstraints ?? {};
  return {
    repository: job.repository,
    image: job.dockerImageLocator !== '',
    labels: job.requiredLabels,
    cores: minima ? minima.cores : (runtimeConstraints?.minCoresPerNode ?? 0),
    ramMb: minima ? Number(minima.ramMb) : (runtimeConstraints?.minRamMbPerNode ?? 0),
    scratchMb: minima ? Number(minima.scratchMb) : (runtimeConstraints?.minScratchMbPerNode ?? 0),
    ...(platform !== '' && { platform }),
    ...(sandbox !== '' && job.dockerImageLocator === '' && { sandbox }),
    ...(job.codePaths && job.codePaths.length > 0 && { codePaths: true }),
    ...(secrets.length > 0 && {
      secrets: { those: secrets.map(({ name, grant }) => ({ name, grant })), to: interested ?? [owner] },
    }),
  };
}

/** A condition that an offer does not meet, for people. */
export type Unmet = {
  /** What is asked for, such as `64 cores`. */
  readonly wanted: string;
  /** What there is of it, such as `8`; `none` if nothing. */
  readonly offered: string;
};

/** Every condition of a job that an offer does not meet; none if the job may be given to whoever makes it. No offer offers nothing. */
export function unmetBy(offer: Offer | undefined, wanted: Requirements): readonly Unmet[] {
  const unmet: Unmet[] = [];
  const { cores, ramMb, scratchMb } = leastOf(offer);
  if (wanted.cores > cores) unmet.push({ wanted: plural(wanted.cores, 'core'), offered: some(cores) });
  if (wanted.ramMb > ramMb) unmet.push({ wanted: `${wanted.ramMb} MiB of RAM`, offered: some(ramMb) });
  if (wanted.scratchMb > scratchMb) {
    unmet.push({ wanted: `${wanted.scratchMb} MiB of scratch disk`, offered: some(scratchMb) });
  }
  if (wanted.image && !runsImages(offer)) unmet.push({ wanted: 'a runtime for images', offered: 'none' });
  if (wanted.platform !== undefined && offer?.platform !== wanted.platform) {
    unmet.push({ wanted: `the platform ${wanted.platform}`, offered: offer?.platform || 'none' });
  }
  if (wanted.sandbox !== undefined && !isSandboxed(offer)) {
    unmet.push({ wanted: `a sandbox by ${wanted.sandbox}`, offered: offer?.sandbox || 'none' });
  }
  if (wanted.codePaths && !offer?.codePaths) {
    unmet.push({ wanted: 'the checkout of code paths alone', offered: 'none' });
  }
  const { those = [], to = [] } = wanted.secrets ?? {};
  const granted = offer?.secrets ?? [];
  for (const secret of those) {
    if (!firstUngranted([secret], granted, wanted.repository, to)) continue;
    const { name, grant } = secret;
    // Who else wants the job is not told.
    unmet.push({
      wanted: `the secret ${name} by grant ${grant}`,
      offered: granted.some((one) => isSameSecret(one, secret)) ? 'it for others' : 'none',
    });
  }
  for (const name of Object.keys(wanted.labels).sort()) {
    const [value, has] = [wanted.labels[name], labelOf(offer, name)];
    if (value === has) continue;
    unmet.push({ wanted: `the label ${name}=${value}`, offered: has === undefined ? 'none' : `${name}=${has}` });
  }
  return unmet;
}

/** Whether an offer meets all that is asked for. */
export function fits(offer: Offer | undefined, wanted: Requirements): boolean {
  const { cores, ramMb, scratchMb } = leastOf(offer);
  return wanted.cores <= cores && wanted.ramMb <= ramMb && wanted.scratchMb <= scratchMb && hasKind(offer, wanted);
}

/** Whether an offer has what is asked for that has no size: the runtime of images, the platform, the sandbox, code paths, the secrets, the labels. */
export function hasKind(offer: Offer | undefined, wanted: Omit<Requirements, keyof Least>): boolean {
  const { image, labels, platform, sandbox, codePaths, secrets } = wanted;
  if (image && !runsImages(offer)) return false;
  if (platform !== undefined && offer?.platform !== platform) return false;
  if (sandbox !== undefined && !isSandboxed(offer)) return false;
  if (codePaths && !offer?.codePaths) return false;
  if (secrets && firstUngranted(secrets.those, offer?.secrets ?? [], wanted.repository, secrets.to)) return false;
  for (const name in labels) if (labelOf(offer, name) !== labels[name]) return false;
  return true;
}

/** What an offer has of what is counted. */
export function leastOf(offer: Offer | undefined): Least {
  if (!offer) return { cores: 0, ramMb: 0, scratchMb: 0 };
  return { cores: offer.cores, ramMb: Number(offer.ramMb), scratchMb: Number(offer.scratchMb) };
}

function runsImages(offer: Offer | undefined): boolean {
  return offer !== undefined && offer.imageRuntimes.length > 0;
}

function isSandboxed(offer: Offer | undefined): boolean {
  return offer?.sandbox === bubblewrap;
}

/** Names come from callers, and may be those of what every object has. */
function labelOf(offer: Offer | undefined, name: string): string | undefined {
  return offer && Object.hasOwn(offer.labels, name) ? offer.labels[name] : undefined;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function some(count: number): string {
  return count === 0 ? 'none' : String(count);
}
