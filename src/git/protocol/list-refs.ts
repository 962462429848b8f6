import { quote } from '../../domain/errors.js';
import { isHex, sha1, sha256 } from '../hash.js';
import { isRefName } from '../ref-name.js';
import type { Ref } from '../refs.js';
import {
  type Capabilities,
  capability,
  commandRequest,
  hasFeature,
  objectFormat,
  readCapabilities,
  theList,
} from './capabilities.js';
import { lineText, type PktReader } from './pkt-line.js';
import type { Transport } from './transport.js';

/** What a remote says it has. */
export type AdvertisedRefs = {
  /** Its branches and tags that have names such as git accepts; like git, others are passed over. */
  readonly refs: readonly Ref[];
  /** The object that its HEAD comes to; absent if HEAD names no branch that is there. */
  readonly head?: string;
  /** The ref that its HEAD is, if the remote tells. */
  readonly headRef?: string;
};

/** A remote's refs, and how it is spoken to. */
export type Listed = { readonly advertised: AdvertisedRefs; readonly capabilities: Capabilities };

/** Most bytes of a list of refs, which is in memory as a whole. */
const longestList = 256 * 1024 * 1024;

type Found = { readonly names: Map<string, string>; headRef?: string };

/**
 * Asks a remote for its branches, tags and HEAD: by protocol version 2, or by version 0 where it has no other.
 * @param remembered - what it said the last time, which spares to ask again
 * @throws Error saying what is wrong with its answer
 */
export async function listRefs(transport: Transport, remembered?: Capabilities): Promise<Listed> {
  if (remembered?.version === 2) return listByCommand(transport, remembered);
  const lines = await transport.advertisement();
  const first = await lines.next(theList);
  if (first instanceof Buffer && lineText(first) === 'version 2') {
    const capabilities = await readCapabilities(lines);
    await transport.done(lines);
    return listByCommand(transport, capabilities);
  }
  const listed = await readList(lines, first);
  await transport.done(lines);
  return listed;
}

async function listByCommand(transport: Transport, capabilities: Capabilities): Promise<Listed> {
  const unborn = hasFeature(capabilities, 'ls-refs', 'unborn') ? ['unborn'] : [];
  const prefixes = ['HEAD', 'refs/heads/', 'refs/tags/'].map((prefix) => `ref-prefix ${prefix}`);
  const lines = await transport.request(commandRequest('ls-refs', capabilities, ['symrefs', ...unborn, ...prefixes]));
  const { hex } = objectFormat(capabilities);
  const found: Found = { names: new Map() };
  for await (const text of linesOf(lines, lines.next(theList))) {
    const [id = '', name = '', ...attributes] = text.split(' ');
    const target = attributes
      .find((attribute) => attribute.startsWith('symref-target:'))
      ?.slice('symref-target:'.length);
    if (name === 'HEAD' && target !== undefined) found.headRef = target;
    if (id !== 'unborn') found.names.set(name, checkedId(id, hex, text));
  }
  await transport.done(lines);
  return { advertised: advertised(found), capabilities };
}

/** A list of version 0 or 1 (gitprotocol-pack(5), "Reference Discovery"). */
async function readList(lines: PktReader, start: Awaited<ReturnType<PktReader['next']>>): Promise<Listed> {
  const found: Found = { names: new Map() };
  let has: Record<string, string> | undefined;
  let hex: number | undefined;
  for await (const text of linesOf(lines, Promise.resolve(start))) {
    if (text === 'version 1') continue;
    if (text.startsWith('version ')) throw new Error(`it speaks ${quote(text)} of the git protocol`);
    const nul = text.indexOf('\0');
    if (nul >= 0 && !has) {
      has = Object.create(null) as Record<string, string>;
      for (const word of text
        .slice(nul + 1)
        .trim()
        .split(' ')) {
        if (word.startsWith('symref=HEAD:')) found.headRef = word.slice('symref=HEAD:'.length);
        else Object.assign(has, capability(word));
      }
    }
    const line = nul < 0 ? text : text.slice(0, nul);
    if (line.startsWith('shallow ')) continue;
    const space = line.indexOf(' ');
    const [id, name] = [line.slice(0, Math.max(0, space)), line.slice(space + 1)];
    hex ??= id.length === sha256.hex ? sha256.hex : sha1.hex;
    checkedId(id, hex, line);
    if (!name.endsWith('^{}')) found.names.set(name, id.toLowerCase());
  }
  const format = has && has['object-format'] === undefined && hex === sha256.hex ? { 'object-format': 'sha256' } : {};
  return { advertised: advertised(found), capabilities: { version: 0, has: { ...has, ...format } } };
}

async function* linesOf(lines: PktReader, start: ReturnType<PktReader['next']>): AsyncGenerator<string> {
  let listed = 0;
  for (let line = await start; line !== 'flush'; line = await lines.next(theList)) {
    if (typeof line === 'string') throw new Error(`its list of refs has a ${line} within it`);
    listed += line.length;
    if (listed > longestList) throw new Error(`its list of refs has more than ${longestList} bytes`);
    yield lineText(line);
  }
}

function checkedId(id: string, hex: number, line: string): string {
  if (id.length !== hex || !isHex(id)) throw new Error(`its list of refs has ${quote(line, 120)}`);
  return id.toLowerCase();
}

function advertised({ names, headRef }: Found): AdvertisedRefs {
  const refs = [...names]
    .filter(([name]) => /^refs\/(heads|tags)\//.test(name) && isRefName(name))
    .map(([name, id]) => ({ name, id }));
  const head = names.get('HEAD');
  return { refs, ...(head !== undefined && { head }), ...(headRef !== undefined && { headRef }) };
}
