/** Longest pointer that git-lfs takes for one, in bytes. */
const longest = 1_024;

/** Whether content is a pointer of git-lfs to the content that is meant (its docs/spec.md), of any version of the format. */
export function isLfsPointer(content: Buffer): boolean {
  if (content.length >= longest) return false;
  const lines = content.toString('latin1').split('\n');
  const version = /^version https?:\/\/(?:git-lfs\.github\.com|hawser\.github\.com|git-media\.io)\//;
  return version.test(lines[0] ?? '') && lines.some((line) => /^oid \S/.test(line));
}
