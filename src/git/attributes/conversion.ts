import type { AttributeState } from './attribute-file.js';
import { type EncodingProblem, encodingOf } from './encoding.js';
import { withIdent } from './ident.js';
import { lineEnds, withLineEnds } from './line-ends.js';

/**
 * The content of a file as git's checkout writes it by its attributes, in git's order: `ident`, line ends, encoding. Filters are programs,
 * and are not run.
 * @param oid - id of the file's blob
 */
export function convert(
  content: Buffer,
  oid: string,
  attributes: ReadonlyMap<string, AttributeState>,
): Buffer | EncodingProblem {
  if (attributes.size === 0) return content;
  const encode = encodingOf(attributes.get('working-tree-encoding'));
  if (encode && 'problem' in encode) return encode;
  const named = attributes.get('ident') === true ? withIdent(content, oid) : content;
  const ended = withLineEnds(named, lineEnds(attributes));
  return encode ? encode(ended) : ended;
}
