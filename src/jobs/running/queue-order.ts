import { comparePlaces, type QueueCursor, type QueuedRow } from '../../../projections/read-model/queue.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { hasKind, type Least, leastOf, type Offering, type Requirements } from '../../domain/placement/requirements.js';
import { fitsShape, fitsSizesOf, shapeKey, shapeOfKey } from '../../domain/placement/shape.js';

/** How many places are looked at in the order of the whole queue before each list that fits is. */
const placesAhead = 200;

/** Up to how many lists are looked at at once, each by itself. */
const fewLists = 32;

/** How many places of a list are read at first, and at most, at once. */
const pages = { first: 2, most: 100 };

/** How often lists are looked for between two times that those are counted which there are. */
const looksBetweenCounts = 100;

/** Which jobs a claim may be given. */
export type Wanting = {
  /** Undefined looks at no offer: any job is given. */
  readonly offer: Offering | undefined;
  /** Whether jobs of a repository may be given. */
  readonly repository: (name: string) => boolean;
  /** Whether jobs may be given that take the turns of an owner. */
  readonly owner: (name: string) => boolean;
};

/** A list of the queue in memory. */
type List = { readonly id: number; readonly shape: Requirements; readonly kind: Kind };

/** What lists have in common that differ in sizes alone: an offer is looked at once for all of them. */
type Kind = Omit<Requirements, keyof Least> & { readonly lists: Set<List> };

/** The queue as claims go through it. */
export type QueueOrder = {
  /**
   * The places of the jobs that may be given, the first one first, read when they are asked for. Of the lists of the queue only those
   * are looked at that fit.
   */
  places(wanting: Wanting): Generator<QueuedRow, void, undefined>;
  /** Whether a job may be given. */
  gives(wanting: Wanting, place: QueuedRow): boolean;
  /** Of each list the first job that takes the turns of an owner, in the order of the queue. */
  headsOfOwner(owner: string): readonly QueuedRow[];
  /** Of each list the first job that may be given to who wants this, and that asks for more than an offer has. */
  beyond(wanting: Wanting, offer: Offering): readonly QueuedRow[];
  /** Of each list of a repository the first job, in the order of the queue. */
  headsOfRepository(repository: string): readonly QueuedRow[];
};

/** Opens the queue of a read model. The shapes of its lists stay in memory; which jobs they have does not. */
export function openQueueOrder(readModel: Pick<ReadModel, 'queue' | 'onRemade'>): QueueOrder {
  const { queue } = readModel;
  let lists = new Map<number, List>();
  let kinds = new Map<string, Kind>();
  let newest = 0;
  let looks = 0;
  readModel.onRemade(forgetAll);

  function forgetAll(): void {
    lists = new Map();
    kinds = new Map();
    newest = 0;
  }

  /** A list has ended. */
  function forget(id: number): void {
    const list = lists.get(id);
    if (!list) return;
    lists.delete(id);
    const { kind } = list;
    kind.lists.delete(list);
    if (kind.lists.size === 0) kinds.delete(kindKey(kind));
  }

  function kindOf({ cores: _, ramMb: _ram, scratchMb: _scratch, ...alike }: Requirements): Kind {
    const kind = { ...alike, lists: new Set<List>() };
    const key = kindKey(kind);
    const known = kinds.get(key);
    if (!known) kinds.set(key, kind);
    return known ?? kind;
  }

  /** Ids only grow, so that what is new is behind what is known. */
  function refresh(): void {
    // Those that ended are dropped when they are looked at in vain; others in time.
    if (lists.size > 1_000 && ++looks % looksBetweenCounts === 0 && lists.size > 2 * queue.shapeCount() + 1_000) {
      forgetAll();
    }
    for (const { id, key } of queue.shapesAfter(newest)) {
      const shape = shapeOfKey(key);
      const list = { id, shape, kind: kindOf(shape) };
      list.kind.lists.add(list);
      lists.set(id, list);
      newest = id;
    }
  }

  /** The lists of which jobs may be given, and whether all of their jobs may be. */
  function fitting({ offer, repository }: Wanting): Map<number, 'all' | 'some'> {
    refresh();
    const found = new Map<number, 'all' | 'some'>();
    const least = leastOf(offer?.has);
    const asked = new Map<string, boolean>();
    for (const kind of kinds.values()) {
      if (offer && !hasKind(offer.has, kind)) continue;
      const may = asked.get(kind.repository) ?? repository(kind.repository);
      asked.set(kind.repository, may);
      if (!may) continue;
      for (const { id, shape } of kind.lists) {
        const how = offer ? fitsSizesOf(least, shape) : 'all';
        if (how !== 'none') found.set(id, how);
      }
    }
    return found;
  }

  function* places(wanting: Wanting): Generator<QueuedRow, void, undefined> {
    const wanted = fitting(wanting);
    const least = leastOf(wanting.offer?.has);
    let behind: QueueCursor | undefined;
    if (wanted.size > fewLists) {
      // Where much fits, the first that does is near the front.
      const next = paged((cursor, size) => queue.places(cursor, size));
      for (let looked = 0; looked < placesAhead; looked++) {
        const place = next();
        if (!place) return;
        behind = place;
        const how = wanting.owner(place.owner) ? wanted.get(place.shape) : undefined;
        if (how === 'all' || (how === 'some' && fitsSizes(place, least))) yield place;
      }
    }
    const { owner } = wanting;
    const begins = wanted.size === 0 ? [] : queue.begins([...wanted.keys()]);
    if (begins.length < wanted.size) {
      const there = new Set(begins.map(({ shape }) => shape));
      for (const id of wanted.keys()) if (!there.has(id)) forget(id);
    }
    yield* merged(
      begins.map((begin) => {
        const most = wanted.get(begin.shape) === 'all' ? undefined : least;
        const from = behind && comparePlaces(begin, behind) < 0 ? behind : begin;
        return { from, read: () => listed(begin.shape, { owner, behind, most }) };
      }),
    );
  }

  /** A list from its beginning, or from behind a place on. */
  function listed(id: number, { owner, behind, most }: Part): Reader {
    // Those of an owner are read once its first one is passed: who may be given nothing costs no more than that one.
    const heads = paged((cursor, size) => queue.heads(id, cursor, size));
    const begun: Source[] = [];
    const begin = (owner: string, from: QueueCursor | undefined) => {
      const read = paged((cursor, size) => queue.placesOf(id, owner, cursor, size, most), from);
      const place = read();
      if (place) begun.push({ place, read });
    };
    let head = heads();
    let given: QueuedRow | undefined;
    return () => {
      if (given) begin(given.owner, given);
      given = undefined;
      while (head || begun.length > 0) {
        const first = firstOf(begun);
        if (!head || (first && comparePlaces(first.place, head) < 0)) {
          if (!first) return undefined;
          const { place } = first;
          advance(begun, first);
          return place;
        }
        const place = head;
        head = heads();
        if (!owner(place.owner)) continue;
        if (!most && !(behind && comparePlaces(place, behind) <= 0)) {
          given = place;
          return place;
        }
        begin(place.owner, behind);
      }
      return undefined;
    };
  }

  return {
    places,
    gives({ offer, repository, owner }, place) {
      if (!repository(place.repository)) return false;
      if (!offer) return owner(place.owner);
      refresh();
      const list = lists.get(place.shape);
      if (list === undefined || !fitsSizes(place, leastOf(offer.has)) || !hasKind(offer.has, list.shape)) return false;
      return owner(place.owner);
    },
    headsOfOwner(owner) {
      refresh();
      return queue.firstsOfOwner([...lists.keys()], owner).sort(comparePlaces);
    },
    beyond(wanting, { has }) {
      const free = leastOf(has);
      const beyond = new Map<number, 'some' | 'none'>();
      for (const id of fitting(wanting).keys()) {
        const list = lists.get(id);
        const how = list ? fitsShape(has, list.shape) : 'all';
        if (how !== 'all') beyond.set(id, how);
      }
      return queue
        .firsts([...beyond.keys()])
        .filter((first) => wanting.owner(first.owner))
        .filter((first) => beyond.get(first.shape) === 'none' || !fitsSizes(first, free));
    },
    headsOfRepository(repository) {
      refresh();
      const those = [...lists.values()].filter(({ shape }) => shape.repository === repository);
      return queue.firsts(those.map(({ id }) => id)).sort(comparePlaces);
    },
  };
}

/** What no other kind has. */
function kindKey(kind: Kind): string {
  return shapeKey({ ...kind, cores: 0, ramMb: 0, scratchMb: 0 });
}

/** What is wanted of a list. */
type Part = {
  readonly owner: (name: string) => boolean;
  readonly behind: QueueCursor | undefined;
  /** The most that jobs may ask for; undefined for any. */
  readonly most: Least | undefined;
};

/** Gives the next place; undefined at the end. */
type Reader = () => QueuedRow | undefined;

/** A reader, and the place that it gave last. */
type Source = { place: QueuedRow; readonly read: Reader };

/** A list that is not read before the others have come to where it may begin. */
type Unread = { readonly from: QueueCursor; readonly read: () => Reader };

/** Reads places page by page, from behind a place on if one is given. */
function paged(pageOf: (cursor: QueueCursor | undefined, size: number) => QueuedRow[], behind?: QueueCursor): Reader {
  let page: QueuedRow[] = [];
  let [next, size] = [0, pages.first];
  let cursor = behind;
  let ended = false;
  return () => {
    if (next === page.length && !ended) {
      page = pageOf(cursor, size);
      if (page.length < size) ended = true;
      cursor = page.at(-1) ?? cursor;
      next = 0;
      size = Math.min(size * 4, pages.most);
    }
    return page[next++];
  };
}

/** The source whose place comes first; undefined if there is none. */
function firstOf(sources: readonly Source[]): Source | undefined {
  let first: Source | undefined;
  for (const one of sources) if (!first || comparePlaces(one.place, first.place) < 0) first = one;
  return first;
}

/** The places of several lists in the order of the queue. */
function* merged(lists: readonly Unread[]): Generator<QueuedRow, void, undefined> {
  const waiting = [...lists].sort((a, b) => comparePlaces(b.from, a.from));
  const sources: Source[] = [];
  while (true) {
    const first = firstOf(sources);
    const next = waiting.at(-1);
    if (next && (!first || comparePlaces(next.from, first.place) <= 0)) {
      waiting.pop();
      const read = next.read();
      const place = read();
      if (place) sources.push({ place, read });
      continue;
    }
    if (!first) return;
    yield first.place;
    advance(sources, first);
  }
}

/** Goes on to the next place of one of the sources. */
function advance(sources: Source[], source: Source): void {
  const place = source.read();
  if (place) source.place = place;
  else sources.splice(sources.indexOf(source), 1);
}

function fitsSizes(place: QueuedRow, has: Least): boolean {
  return place.cores <= has.cores && place.ramMb <= has.ramMb && place.scratchMb <= has.scratchMb;
}
