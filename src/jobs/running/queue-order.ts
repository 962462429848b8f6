import { comparePlaces, type QueueCursor, type QueuedRow } from '../../../projections/read-model/queue.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { hasKind, type Least, leastOf, type Offering, type Requirements } from '../../domain/placement/requirements.js';
import { fitsShape, shapeOfKey } from '../../domain/placement/shape.js';

/** How many places are looked at in the order of the whole queue before each list that fits is. */
const placesAhead = 200;

/** Up to how many lists are looked at at once, each by itself. */
const fewLists = 32;

/** How many places of a list are read at first, and at most, at once. */
const pages = { first: 2, most: 100 };

/** Which jobs a claim may be given. */
export type Wanting = {
  /** Undefined looks at no offer: any job is given. */
  readonly offer: Offering | undefined;
  /** Whether jobs of a repository may be given. */
  readonly repository: (name: string) => boolean;
};

/** A list of the queue in memory. */
type List = { readonly id: number; readonly shape: Requirements };

/** The queue as claims go through it. */
export type QueueOrder = {
  /**
   * The places of the jobs that may be given, the first one first, read when they are asked for. Of the lists of the queue only those
   * are looked at that fit.
   */
  places(wanting: Wanting): Generator<QueuedRow, void, undefined>;
  /** Whether a job may be given. */
  gives(wanting: Wanting, place: QueuedRow): boolean;
};

/** Opens the queue of a read model. The shapes of its lists stay in memory; which jobs they have does not. */
export function openQueueOrder(readModel: Pick<ReadModel, 'queue' | 'onRemade'>): QueueOrder {
  const { queue } = readModel;
  let lists = new Map<number, List>();
  let newest = 0;
  readModel.onRemade(() => {
    lists = new Map();
    newest = 0;
  });

  /** Ids only grow, so that what is new is behind what is known. */
  function refresh(): void {
    const count = queue.shapeCount();
    // Those that ended are dropped when they are looked at in vain; others in time.
    if (lists.size > 2 * count + 1_000) {
      lists = new Map();
      newest = 0;
    }
    for (const { id, key } of queue.shapesAfter(newest)) {
      lists.set(id, { id, shape: shapeOfKey(key) });
      newest = id;
    }
  }

  /** The lists of which jobs may be given, and whether all of their jobs may be. */
  function fitting({ offer, repository }: Wanting): Map<number, 'all' | 'some'> {
    refresh();
    const found = new Map<number, 'all' | 'some'>();
    for (const { id, shape } of lists.values()) {
      if (!repository(shape.repository)) continue;
      const how = offer ? fitsShape(offer.has, shape) : 'all';
      if (how !== 'none') found.set(id, how);
    }
    return found;
  }

  function* places(wanting: Wanting): Generator<QueuedRow, void, undefined> {
    const wanted = fitting(wanting);
    const least = leastOf(wanting.offer?.has);
    let behind: QueueCursor | undefined;
    if (wanted.size > fewLists) {
      // Where much fits, the first that does is near the front.
      const ahead = queue.places(undefined, placesAhead);
      for (const place of ahead) {
        const how = wanted.get(place.shape);
        if (how === 'all' || (how === 'some' && fitsSizes(place, least))) yield place;
      }
      if (ahead.length < placesAhead) return;
      behind = ahead.at(-1);
    }
    yield* merged([...wanted].map(([id, how]) => listed(id, how === 'all' ? undefined : least, behind)));
  }

  /** One list from behind a place on. */
  function listed(id: number, most: Least | undefined, behind: QueueCursor | undefined): Reader {
    let page: QueuedRow[] = [];
    let [next, size] = [0, pages.first];
    let cursor = behind;
    let ended = false;
    return () => {
      if (next === page.length && !ended) {
        page = queue.placesOf(id, cursor, size, most);
        if (page.length < size) ended = true;
        // Whether the list has ended altogether is told by its first page alone.
        if (cursor === undefined && !most && page.length === 0) lists.delete(id);
        cursor = page.at(-1) ?? cursor;
        next = 0;
        size = Math.min(size * 4, pages.most);
      }
      return page[next++];
    };
  }

  return {
    places,
    gives({ offer, repository }, place) {
      if (!repository(place.repository)) return false;
      if (!offer) return true;
      refresh();
      const list = lists.get(place.shape);
      return list !== undefined && fitsSizes(place, leastOf(offer.has)) && hasKind(offer.has, list.shape);
    },
  };
}

/** Gives the next place of a list; undefined at its end. */
type Reader = () => QueuedRow | undefined;

/** The places of several lists in the order of the queue. */
function* merged(readers: readonly Reader[]): Generator<QueuedRow, void, undefined> {
  const heads = readers.flatMap((read) => {
    const place = read();
    return place ? [{ place, read }] : [];
  });
  while (heads.length > 0) {
    const head = heads.reduce((first, one) => (comparePlaces(one.place, first.place) < 0 ? one : first));
    yield head.place;
    const place = head.read();
    if (place) head.place = place;
    else heads.splice(heads.indexOf(head), 1);
  }
}

function fitsSizes(place: QueuedRow, has: Least): boolean {
  return place.cores <= has.cores && place.ramMb <= has.ramMb && place.scratchMb <= has.scratchMb;
}
