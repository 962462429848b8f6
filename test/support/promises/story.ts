import { createHash } from 'node:crypto';

/** An event of a job, and where it stands in the log. */
export type Entry = { readonly place: number; readonly id: string; readonly type: string; readonly data: EventData };

/** What events of jobs hold, as ProtoJSON has it. */
export type EventData = {
  readonly uuid?: string;
  readonly owner?: string;
  readonly computationDigest?: string;
  readonly runNumber?: number;
  readonly submitId?: string;
  readonly priority?: number;
  readonly resultingPriority?: number;
  readonly principal?: string;
  readonly updatedBy?: string;
  readonly interest?: string;
  readonly attempt?: number;
  readonly claimTokenDigest?: string;
  readonly reason?: string;
  readonly givenBack?: boolean;
  readonly output?: string;
  readonly retry?: { readonly lost?: number };
};

/** What a job came to by its events. */
export type Story = {
  readonly uuid: string;
  readonly computation: string;
  readonly runNumber: number;
  readonly began: number;
  state: 'Queued' | 'Running' | 'Complete' | 'Failed' | 'Cancelled';
  /** Where it finished; Infinity while it has not. */
  finished: number;
  attempts: Attempted[];
  output: string;
  priority: number;
  /** Priorities of the interests that stand, by principal and name. */
  standing: Map<string, number>;
  /** From where to where somebody's interests stood. */
  readonly waited: { readonly who: string; readonly from: number; until: number }[];
};

/** An attempt: what it ended by, and where, which is Infinity while it stands. */
export type Attempted = { readonly digest: string; readonly entries: Entry[]; ended: string; over: number };

/** The digest by which the log names a claim token, of hexadecimal digits. */
export function digestOf(token: string): string {
  return createHash('sha256').update(Buffer.from(token, 'hex')).digest('hex');
}

/** Where what has not ended ends, and what ends an attempt. */
const standing = Number.POSITIVE_INFINITY;
const ends = new Set(['JobAttemptEnded', 'JobCompleted', 'JobFailed', 'JobCancelled']);

const key = (principal = '', interest = '') => JSON.stringify([principal, interest]);
const principalOf = (of: string): string => (JSON.parse(of) as [string])[0];

/** Tells the story of a job from its events, and says of each that the rules do not allow there. */
export function tell(entries: readonly Entry[], wrong: (what: string) => void): Story | undefined {
  const [first, ...rest] = entries;
  if (!first) return undefined;
  const { uuid = '', computationDigest: computation = '', runNumber = 0, owner, submitId, priority = 0 } = first.data;
  const lost = first.data.retry?.lost ?? 0;
  const story: Story = {
    uuid,
    computation,
    runNumber,
    began: first.place,
    state: 'Queued',
    finished: Number.POSITIVE_INFINITY,
    attempts: [],
    output: '',
    priority,
    standing: new Map(),
    waited: [],
  };
  const say = ({ type, place }: Entry, what: string) => wrong(`job ${uuid}, ${type} at ${place}: ${what}`);
  if (first.type !== 'JobRequested') say(first, 'is its first event');

  function began(who: string, of: string, itsPriority: number, { place }: Entry): void {
    if (!waits(who)) story.waited.push({ who, from: place, until: Number.POSITIVE_INFINITY });
    story.standing.set(of, itsPriority);
  }
  function waits(who: string): boolean {
    return [...story.standing.keys()].some((of) => principalOf(of) === who);
  }
  began(owner ?? '', key(owner, submitId || first.id), priority, first);

  for (const entry of rest) {
    const { type, data, place } = entry;
    const newest = story.attempts.at(-1);
    if (newest?.over === standing && ends.has(type)) newest.over = place;
    const finished = story.finished < place;
    if (finished && type !== 'JobDeleted') say(entry, `after it was ${story.state}`);
    const ofNewest = () => {
      if (data.attempt !== story.attempts.length) say(entry, `of attempt ${data.attempt} of ${story.attempts.length}`);
      newest?.entries.push(entry);
    };
    const running = () => {
      if (story.state !== 'Running') say(entry, `while it is ${story.state}`);
      ofNewest();
    };
    switch (type) {
      case 'JobStarted':
        if (story.state !== 'Queued') say(entry, `while it is ${story.state}`);
        story.state = 'Running';
        story.attempts.push({ digest: data.claimTokenDigest ?? '', entries: [entry], ended: '', over: standing });
        if (data.attempt !== story.attempts.length) say(entry, `of attempt ${data.attempt}`);
        break;
      case 'JobProgressed':
        running();
        break;
      case 'JobResumed':
        if (newest?.ended !== 'LEASE_EXPIRED' || story.state !== 'Queued') say(entry, `after ${newest?.ended}`);
        ofNewest();
        story.state = 'Running';
        if (newest) Object.assign(newest, { ended: '', over: standing });
        break;
      case 'JobAttemptEnded':
        running();
        story.state = 'Queued';
        if (newest) newest.ended = data.givenBack ? 'given back' : (data.reason ?? '');
        break;
      case 'JobCompleted':
        running();
        story.state = 'Complete';
        story.output = data.output ?? '';
        break;
      case 'JobFailed': {
        running();
        story.state = 'Failed';
        if (newest) newest.ended = data.reason ?? '';
        const losses = story.attempts.filter(({ ended }) => ended === 'LEASE_EXPIRED').length;
        if (data.reason === 'LEASE_EXPIRED' && losses !== lost + 1) say(entry, `after ${losses} losses of ${lost}`);
        break;
      }
      case 'JobCancelled':
        story.state = 'Cancelled';
        if (story.standing.size > 0) say(entry, `while ${[...story.standing.keys()]} want it`);
        break;
      case 'JobJoined':
        if (story.standing.size === 0) say(entry, 'after all had left');
        began(data.principal ?? '', key(data.principal, data.interest || entry.id), data.priority ?? 0, entry);
        story.priority = data.resultingPriority ?? story.priority;
        break;
      case 'JobLeft': {
        const of = key(data.principal, data.interest);
        if (!story.standing.delete(of)) say(entry, `of ${of}, which does not stand`);
        const stood = story.waited.findLast(({ who }) => who === data.principal);
        if (stood && !waits(stood.who)) stood.until = place;
        story.priority = data.resultingPriority ?? story.priority;
        break;
      }
      case 'JobUpdated':
        if (data.priority === undefined) break;
        for (const of of story.standing.keys()) {
          if (!data.interest || of === key(data.updatedBy, data.interest)) story.standing.set(of, data.priority);
        }
        story.priority = data.interest ? (data.resultingPriority ?? story.priority) : data.priority;
        break;
      default:
        say(entry, 'is no event of a job');
    }
    if (story.state !== 'Queued' && story.state !== 'Running') story.finished = Math.min(story.finished, place);
    // The last to leave cancels in the same append: there the highest of none is nothing.
    const highest = Math.max(...story.standing.values());
    if (story.standing.size > 0 && highest !== story.priority) say(entry, `priority ${story.priority}, not ${highest}`);
  }
  if (story.finished === Number.POSITIVE_INFINITY && story.standing.size === 0) {
    wrong(`job ${uuid} is ${story.state}, and nobody wants it`);
  }
  return story;
}
