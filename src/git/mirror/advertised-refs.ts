import type { HttpClient } from 'isomorphic-git';
import { quote } from '../../domain/errors.js';
import { isHex } from '../hash.js';
import { isRefName } from '../ref-name.js';
import type { Ref } from '../refs.js';
import { onePiece } from './one-piece.js';

/** What a remote says it has (gitprotocol-pack(5), "Reference Discovery"). */
export type AdvertisedRefs = {
  /** Its branches and tags that have names such as git accepts; like git, others are passed over. */
  readonly refs: readonly Ref[];
  /** The object that its HEAD comes to; absent if HEAD names no branch that is there. */
  readonly head?: string;
  /** The ref that its HEAD is, if the remote tells. */
  readonly headRef?: string;
};

const service = '# service=git-upload-pack\n';

const flush = '0000';

/** Digits of a SHA-1, which is all that isomorphic-git fetches. */
const idLength = 40;

/**
 * An HTTP client for isomorphic-git that takes note of the refs that a remote advertises, and hands on a list in which every object
 * is a branch that has the object's id as its name. isomorphic-git keeps each ref in a file, which is how it remembers what it has:
 * a name of the remote's choosing would be a path here, and could need a directory where another had a file. The list always has a
 * HEAD, which isomorphic-git cannot do without.
 * @param http - whose list of refs comes as a single piece
 */
export function noteAdvertisedRefs(http: HttpClient): HttpClient & { advertised(): AdvertisedRefs | undefined } {
  let noted: AdvertisedRefs | undefined;
  return {
    advertised: () => noted,
    async request(asked) {
      const response = await http.request(asked);
      if (response.headers?.['content-type'] !== 'application/x-git-upload-pack-advertisement' || !response.body)
        return response;
      const pieces: Uint8Array[] = [];
      for await (const piece of response.body) pieces.push(piece);
      const { capabilities, ...advertised } = readAdvertisement(Buffer.concat(pieces));
      noted = advertised;
      return { ...response, body: onePiece(Buffer.from(listOfObjects(advertised, capabilities))) };
    },
  };
}

/** @throws Error saying what is wrong with the list */
function readAdvertisement(list: Buffer): AdvertisedRefs & { readonly capabilities: readonly string[] } {
  const found = new Map<string, string>();
  let capabilities: string[] | undefined;
  for (const content of pktLines(list)) {
    if (content.startsWith('# service=')) continue;
    if (content.startsWith('ERR ')) throw new Error(`it says ${quote(content.slice(4).trimEnd())}`);
    if (content.startsWith('version ')) throw new Error(`it speaks ${quote(content.trimEnd())} of the git protocol`);
    const nul = content.indexOf('\0');
    if (nul >= 0)
      capabilities ??= content
        .slice(nul + 1)
        .trim()
        .split(' ');
    const text = (nul < 0 ? content : content.slice(0, nul)).replace(/\n$/, '');
    const [id = '', name = ''] = [text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1)];
    if (name === 'capabilities^{}' || name.endsWith('^{}')) continue;
    if (id.length !== idLength || !isHex(id)) throw new Error(`its list of refs has ${quote(text, 120)}`);
    found.set(name, id.toLowerCase());
  }
  const refs = [...found]
    .filter(([name]) => /^refs\/(heads|tags)\//.test(name) && isRefName(name))
    .map(([name, id]) => ({ name, id }));
  const head = found.get('HEAD');
  const headRef = capabilities?.find((text) => text.startsWith('symref=HEAD:'))?.slice('symref=HEAD:'.length);
  return {
    refs,
    ...(head !== undefined && { head }),
    ...(headRef !== undefined && { headRef }),
    capabilities: capabilities ?? [],
  };
}

function* pktLines(list: Buffer): Generator<string> {
  for (let at = 0; at < list.length; ) {
    const digits = list.toString('latin1', at, at + 4);
    const length = /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : -1;
    if (length < 0 || at + length > list.length) throw new Error(`its list of refs is malformed: ${quote(digits)}`);
    if (length > 4) yield list.toString('utf8', at + 4, at + length);
    at += Math.max(length, 4);
  }
}

function listOfObjects({ refs, head }: AdvertisedRefs, offered: readonly string[]): string {
  const ids = [...new Set([...(head === undefined ? [] : [head]), ...refs.map(({ id }) => id)])];
  const capabilities = offered.filter((text) => !text.startsWith('symref=')).join(' ');
  const [first] = ids;
  if (first === undefined)
    return `${line(service)}${flush}${line(`${'0'.repeat(idLength)} capabilities^{}\0${capabilities}\n`)}${flush}`;
  const lines = ids.map((id) => line(`${id} refs/heads/${id}\n`));
  return `${line(service)}${flush}${line(`${first} HEAD\0${capabilities}\n`)}${lines.join('')}${flush}`;
}

/** A pkt-line of ASCII characters (gitprotocol-common(5)). */
function line(content: string): string {
  return (content.length + 4).toString(16).padStart(4, '0') + content;
}
