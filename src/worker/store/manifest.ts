import canonicalize from 'canonicalize';
import * as z from 'zod';

/** A file of a manifest. */
export type ManifestFile =
  | {
      /** Path from the root of what the manifest describes, with "/" between its parts. */
      readonly path: string;
      /** Bytes. */
      readonly size: number;
      /** SHA-256 of the content, in 64 hexadecimal digits. */
      readonly sha256: string;
      readonly executable: boolean;
    }
  | {
      readonly path: string;
      /** Where the symbolic link leads. */
      readonly symlink: string;
    };

/** What stands behind a content address: files, sorted by the bytes of their paths. Times, owners and empty directories do not count. */
export type Manifest = { readonly files: readonly ManifestFile[] };

/** Address of a content: "sha256:" and 64 hexadecimal digits. */
export function addressOf(digest: string): string {
  return `sha256:${digest}`;
}

/** The digest of an address that a store of contents gives; undefined for any other text. */
export function digestOf(address: string): string | undefined {
  return /^sha256:([0-9a-f]{64})$/.exec(address)?.[1];
}

/** RFC 8785 form of a manifest, in UTF-8: its digest is the address. */
export function manifestBytes(files: readonly ManifestFile[]): Buffer {
  const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const manifest: Manifest = { files: sorted };
  return Buffer.from(canonicalize(manifest) as string);
}

const manifestSchema = z.strictObject({
  files: z.array(
    z.union([
      z.strictObject({
        path: z.string(),
        size: z.int().min(0),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        executable: z.boolean(),
      }),
      z.strictObject({ path: z.string(), symlink: z.string() }),
    ]),
  ),
});

/** What every manifest begins with. */
export const manifestBegin = '{"files":[';

/** The manifest that bytes are, if they are one in the form that is stored; undefined otherwise. */
export function manifestOf(bytes: Buffer): Manifest | undefined {
  if (!bytes.subarray(0, manifestBegin.length).equals(Buffer.from(manifestBegin))) return undefined;
  try {
    const parsed = manifestSchema.safeParse(JSON.parse(bytes.toString('utf8')));
    return parsed.success && manifestBytes(parsed.data.files).equals(bytes) ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
