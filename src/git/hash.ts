/** How a repository names its objects. */
export type HashAlgorithm = {
  /** As git spells it in `extensions.objectformat` and as node:crypto knows it. */
  readonly name: 'sha1' | 'sha256';
  /** Bytes of one object id. */
  readonly bytes: 20 | 32;
  /** Hexadecimal digits of one object id. */
  readonly hex: 40 | 64;
};

/** SHA-1, what a repository uses unless it says otherwise. */
export const sha1: HashAlgorithm = { name: 'sha1', bytes: 20, hex: 40 };

/** SHA-256, of repositories made with `--object-format=sha256`. */
export const sha256: HashAlgorithm = { name: 'sha256', bytes: 32, hex: 64 };

/** Whether the text consists of nothing but hexadecimal digits, of either case. */
export function isHex(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (!((c >= 48 && c <= 57) || (c >= 97 && c <= 102) || (c >= 65 && c <= 70))) return false;
  }
  return text.length > 0;
}
