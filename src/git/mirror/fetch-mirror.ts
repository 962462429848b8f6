import { join } from 'node:path';
import { messageOf } from '../../domain/errors.js';
import type { PackLimits } from '../packs/pack-limits.js';
import { type Capabilities, objectFormat } from '../protocol/capabilities.js';
import { canDeepen, type FetchAnswer, infinite, requestPack } from '../protocol/fetch-request.js';
import { gitTransport } from '../protocol/git-transport.js';
import { type HttpAgents, type HttpPlace, httpTransport } from '../protocol/http-transport.js';
import { type AdvertisedRefs, type Listed, listRefs } from '../protocol/list-refs.js';
import type { Transport, TransportLimits } from '../protocol/transport.js';
import { fetchSlices, inSlices, type SliceSizes } from './fetch-slices.js';
import { havesOf } from './haves.js';
import { isDone, type MirrorStore, openMirrorStore, type StoreLimits } from './mirror-store.js';
import { isPublished, publishRefs } from './publish-refs.js';
import type { RemoteRules } from './remote-rules.js';

/** What is fetched, and how. */
export type MirrorSource = {
  readonly name: string;
  readonly url: string;
  /** Directory of the mirror: `fetched.git`, where objects arrive, and `served.git`, whose refs move only once they are whole. */
  readonly directory: string;
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  readonly rules: RemoteRules;
  readonly limits: TransportLimits & PackLimits & StoreLimits;
  readonly slices: SliceSizes;
  /** Wall-clock time in milliseconds. */
  readonly now: number;
};

/** How far a fetch is. */
export type FetchProgress =
  | { readonly step: 'listed'; readonly refs: number }
  | { readonly step: 'receiving'; readonly bytes: number; readonly said?: string }
  | { readonly step: 'objects' | 'deltas'; readonly done: number; readonly all: number };

/** What a fetch brought. */
export type Fetched = {
  readonly refs: number;
  readonly objects: number;
  readonly bytes: number;
  /** Why packs could not be put together, which does no harm to what was fetched. */
  readonly untidy?: string;
};

/** What is remembered from one fetch to the next. */
export type Remembered = { capabilities?: Capabilities; place?: HttpPlace };

/** Progress is told so often at most, in milliseconds. */
const toldEvery = 250;

/**
 * Fetches what is new at a remote and publishes it.
 * @param remembered - what was found out before, which spares a round trip; it is brought up to date
 * @throws Error saying what is wrong with the remote or with what it sends; what is published stays as it was then
 */
export async function fetchMirror(
  source: MirrorSource,
  remembered: Remembered,
  agents: HttpAgents,
  told: (progress: FetchProgress) => void,
): Promise<Fetched> {
  const transport = open(source, remembered, agents);
  try {
    const listed = await list(transport, remembered);
    const { advertised, capabilities } = listed;
    told({ step: 'listed', refs: advertised.refs.length });
    let untidy: string | undefined;
    const objects = await bringUpToDate(source, transport, listed, seldom(told), (error) => {
      untidy = messageOf(error);
    });
    remembered.capabilities = capabilities;
    if ('place' in transport) remembered.place = transport.place();
    return {
      refs: advertised.refs.length,
      objects,
      bytes: transport.received(),
      ...(untidy !== undefined && { untidy }),
    };
  } finally {
    transport.close();
  }
}

async function bringUpToDate(
  source: MirrorSource,
  transport: Transport,
  listed: Listed,
  told: (progress: FetchProgress) => void,
  untidy: (error: unknown) => void,
): Promise<number> {
  const { limits, directory } = source;
  const { advertised, capabilities } = listed;
  const served = join(directory, 'served.git');
  const fetched = join(directory, 'fetched.git');
  if (isPublished(advertised, served) && isDone(fetched)) return 0;
  const store = openMirrorStore(fetched, objectFormat(capabilities), limits);
  try {
    const objects = await receive(transport, listed, store, source, told);
    publishRefs(advertised, store.path, served, store.hash);
    await store.tidy().catch(untidy);
    return objects;
  } finally {
    store.close();
  }
}

type HttpTransport = ReturnType<typeof httpTransport>;

function open(
  { url, credentials, rules, limits }: MirrorSource,
  { place }: Remembered,
  agents: HttpAgents,
): Transport | HttpTransport {
  const parsed = new URL(url);
  return parsed.protocol === 'git:'
    ? gitTransport(parsed, rules, limits)
    : httpTransport(parsed, credentials, rules, limits, agents, place);
}

/** What was remembered may not be so any more: then all is found out again. */
async function list(transport: Transport | HttpTransport, remembered: Remembered): Promise<Listed> {
  const { capabilities } = remembered;
  if (capabilities?.version === 2) {
    try {
      return await listRefs(transport, capabilities);
    } catch {
      delete remembered.capabilities;
      delete remembered.place;
      transport.forget();
    }
  }
  return listRefs(transport);
}

async function receive(
  transport: Transport,
  { advertised, capabilities }: Listed,
  store: MirrorStore,
  { limits, slices, now }: Pick<MirrorSource, 'limits' | 'slices' | 'now'>,
  told: (progress: FetchProgress) => void,
): Promise<number> {
  async function fetch(wants: readonly string[], depth?: number): Promise<number> {
    const asked = { wants, haves: havesOf(advertised, store), shallow: [...store.shallow()], depth };
    const answer = await requestPack(transport, capabilities, asked, (said) =>
      told({ step: 'receiving', bytes: transport.received(), said }),
    );
    const taken = withProgress(answer, transport, told);
    const objects = await store.receive(taken, limits, (step, done, all) => told({ step, done, all }));
    store.note(advertised, now);
    return objects;
  }

  const wants = wantsOf(advertised, store);
  const all = idsOf(advertised);
  if (all.length > 0 && inSlices(capabilities, store))
    return fetchSlices(transport, store, slices, (depth) => fetch(all, depth));
  // A remote whose history was cut off may have all of it by now.
  const whole = store.shallow().size > 0 && canDeepen(capabilities) ? infinite : undefined;
  if (wants.length > 0) return fetch(wants, whole);
  store.note(advertised, now);
  return 0;
}

function idsOf({ refs, head }: AdvertisedRefs): string[] {
  return [...new Set([...(head === undefined ? [] : [head]), ...refs.map(({ id }) => id)])];
}

/** Objects that the remote has and this machine does not. */
function wantsOf(advertised: AdvertisedRefs, { known }: MirrorStore): string[] {
  return idsOf(advertised).filter((id) => known.typeOf(Buffer.from(id, 'hex')) === undefined);
}

function withProgress(answer: FetchAnswer, transport: Transport, told: (progress: FetchProgress) => void): FetchAnswer {
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of answer.pack) {
      told({ step: 'receiving', bytes: transport.received() });
      yield piece;
    }
  }
  return { ...answer, pack: counted() };
}

/** Tells what a step begins with, and then not too often. */
function seldom(tell: (progress: FetchProgress) => void): (progress: FetchProgress) => void {
  let step = '';
  let last = 0;
  return (progress) => {
    const now = performance.now();
    if (progress.step === step && now - last < toldEvery) return;
    step = progress.step;
    last = now;
    tell(progress);
  };
}
