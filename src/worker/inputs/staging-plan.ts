import { ContentKind } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { Input } from '../../../gen/memoir/jobs/v1/input_pb.js';
import { type BlobName, nameOf } from '../../content/blob-name.js';
import { contentText } from '../../domain/inputs/input-text.js';
import { RunFailure } from '../run-failure.js';

/** Something that is staged: a file, or a directory with all that is in it. */
export type Staged = {
  /** Hash of the content that parameters name. */
  readonly content: string;
  /** Where it stands in that; empty for all of it. */
  readonly path: string;
  readonly blob: BlobName;
  readonly isTree: boolean;
  readonly executable: boolean;
};

/** What is to be staged for inputs, and where each of them is then, below the directory of inputs, by its pointer. */
export type StagingPlan = { readonly staged: readonly Staged[]; readonly places: ReadonlyMap<string, string> };

/**
 * What is to be staged: each only once, and what lies in a directory that is staged as a part of it.
 * @throws RunFailure BAD_INPUT if the inputs are not what a server records
 */
export function stagingPlan(inputs: readonly Input[]): StagingPlan {
  const all = new Map<string, Staged>();
  const places = new Map<string, string>();
  for (const { pointer, content, path, digest, executable } of inputs) {
    const hash = content?.hash ?? '';
    const named = contentText(path === '' ? `sha256:${hash}` : `sha256:${hash}/${path}`);
    if (!named || !digest) throw new RunFailure('BAD_INPUT', `the input at ${JSON.stringify(pointer)} is none`);
    const place = path === '' ? hash : `${hash}/${path}`;
    const blob = nameOf('digest', digest.hash, digest.sizeBytes);
    all.set(place, { content: hash, path, blob, isTree: digest.kind === ContentKind.TREE, executable });
    places.set(pointer, place);
  }
  const staged = [...all].filter(([place]) => {
    const parts = place.split('/');
    return !parts.some((_, i) => i > 0 && all.get(parts.slice(0, i).join('/'))?.isTree);
  });
  return { staged: staged.map(([, one]) => one), places };
}
