import { quote } from '../../domain/errors.js';
import { type Capabilities, commandRequest, hasFeature } from './capabilities.js';
import { flush, lineText, pktLine } from './pkt-line.js';
import { readSideBand } from './side-band.js';
import type { Transport } from './transport.js';

/** What is asked for. */
export type FetchRequest = {
  /** Objects that are wanted, with all that they name. */
  readonly wants: readonly string[];
  /** Commits of which everything is there, but for what is beyond `shallow`. */
  readonly haves: readonly string[];
  /** Commits whose parents are not there. */
  readonly shallow: readonly string[];
  /** So many commits from the wanted ones on; all unless given. */
  readonly depth?: number | undefined;
};

/** What is sent. */
export type FetchAnswer = {
  /** Commits that are sent without their parents. */
  readonly shallow: readonly string[];
  /** Commits that were shallow and are not any more. */
  readonly unshallow: readonly string[];
  /** The pack, as it comes. */
  readonly pack: AsyncIterable<Buffer>;
};

/** Whether a remote can send part of a history, one part after the other. */
export function canDeepen(capabilities: Capabilities): boolean {
  return capabilities.version === 2 && hasFeature(capabilities, 'fetch', 'shallow');
}

const thePack = 'the pack';

/**
 * Asks for a pack, in one round trip: what is had is said at once, and not negotiated.
 * @param told - told what the remote says meanwhile, quoted
 * @throws Error saying what is wrong with the answer; `pack` throws it too
 */
export async function requestPack(
  transport: Transport,
  capabilities: Capabilities,
  request: FetchRequest,
  told: (text: string) => void,
): Promise<FetchAnswer> {
  return capabilities.version === 2
    ? askByCommand(transport, capabilities, request, told)
    : askOldWay(transport, capabilities, request, told);
}

/** Depth at which everything is sent, what was shallow included (gitprotocol-pack(5)). */
export const infinite = 0x7fffffff;

async function askByCommand(
  transport: Transport,
  capabilities: Capabilities,
  { wants, haves, shallow, depth }: FetchRequest,
  told: (text: string) => void,
): Promise<FetchAnswer> {
  const args = [
    'thin-pack',
    'ofs-delta',
    ...shallow.map((id) => `shallow ${id}`),
    ...(depth === undefined ? [] : [`deepen ${depth}`]),
    ...wants.map((id) => `want ${id}`),
    ...haves.map((id) => `have ${id}`),
    'done',
  ];
  const answer = await transport.request(commandRequest('fetch', capabilities, args));
  const changes = { shallow: [] as string[], unshallow: [] as string[] };
  for (;;) {
    const line = await answer.next(thePack);
    const section = typeof line === 'string' ? line : lineText(line);
    if (section === 'packfile') break;
    if (section !== 'shallow-info' && section !== 'acknowledgments')
      throw new Error(`it answers ${quote(section, 120)} where a pack is due`);
    for (let next = await answer.next(thePack); next !== 'delimiter'; next = await answer.next(thePack)) {
      if (typeof next === 'string') throw new Error('it sends no pack');
      noteShallow(lineText(next), changes);
    }
  }
  return { ...changes, pack: readSideBand(answer, told) };
}

/** Version 0 (gitprotocol-pack(5), "Packfile Negotiation"). */
async function askOldWay(
  transport: Transport,
  { has }: Capabilities,
  { wants, haves, shallow, depth }: FetchRequest,
  told: (text: string) => void,
): Promise<FetchAnswer> {
  const band = ['side-band-64k', 'side-band'].find((name) => has[name] !== undefined);
  const asked = [
    ...(band === undefined ? [] : [band]),
    ...['thin-pack', 'ofs-delta'].filter((name) => has[name] !== undefined),
    ...(has['object-format'] === undefined ? [] : [`object-format=${has['object-format']}`]),
    ...(has.agent === undefined ? [] : ['agent=memoir']),
  ].join(' ');
  const answer = await transport.request(
    Buffer.concat([
      ...wants.map((id, i) => pktLine(i === 0 ? `want ${id} ${asked}\n` : `want ${id}\n`)),
      ...shallow.map((id) => pktLine(`shallow ${id}\n`)),
      ...(depth === undefined ? [] : [pktLine(`deepen ${depth}\n`)]),
      flush,
      ...haves.map((id) => pktLine(`have ${id}\n`)),
      pktLine('done\n'),
    ]),
  );
  const changes = { shallow: [] as string[], unshallow: [] as string[] };
  if (depth !== undefined) {
    for (let next = await answer.next(thePack); next !== 'flush'; next = await answer.next(thePack)) {
      if (typeof next !== 'string') noteShallow(lineText(next), changes);
    }
  }
  // Without multi_ack one line follows on "done", and where something is had in common, one on that before it.
  const found = await answer.next(thePack);
  const text = typeof found === 'string' ? found : lineText(found);
  if (text !== 'NAK' && !text.startsWith('ACK ')) throw new Error(`it answers ${quote(text, 120)} where a pack is due`);
  return { ...changes, pack: band === undefined ? answer.rest() : readSideBand(answer, told) };
}

function noteShallow(text: string, changes: { readonly shallow: string[]; readonly unshallow: string[] }): void {
  const [word, id = ''] = text.split(' ');
  if ((word === 'shallow' || word === 'unshallow') && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(id)) changes[word].push(id);
}
