import type { StoredRecord } from '../kurrentdb-double/log.js';
import { type Attempted, digestOf, type Entry, type EventData, type Story, tell } from './story.js';
import type { Told } from './told.js';

/** What the log says of every job, and what in it breaks a promise, in words. */
export type Judgement = { readonly stories: ReadonlyMap<string, Story>; readonly broken: readonly string[] };

/** Holds what people were told against the log. */
export function judge(records: readonly StoredRecord[], told: readonly Told[]): Judgement {
  const broken: string[] = [];
  const wrong = (what: string) => void broken.push(what);
  const entries = new Map<string, Entry[]>();
  for (const [place, { stream, type, id, data }] of records.entries()) {
    if (!stream.startsWith('job-')) continue;
    const known = entries.get(stream) ?? [];
    known.push({ place, id, type, data: JSON.parse(Buffer.from(data).toString()) as EventData });
    entries.set(stream, known);
  }
  const stories = new Map<string, Story>();
  for (const one of entries.values()) {
    const story = tell(one, wrong);
    if (story) stories.set(story.uuid, story);
  }
  runsFollowEachOther([...stories.values()], wrong);
  for (const one of told) keptAsTold(one, stories.get(one.uuid), wrong, stories);
  return { stories, broken };
}

/** No two runs of a computation are unfinished at once, and none is left out. */
function runsFollowEachOther(stories: readonly Story[], wrong: (what: string) => void): void {
  const runs = new Map<string, Story[]>();
  for (const story of stories) runs.set(story.computation, [...(runs.get(story.computation) ?? []), story]);
  for (const [computation, all] of runs) {
    all.sort((one, other) => one.runNumber - other.runNumber);
    for (const [i, run] of all.entries()) {
      if (run.runNumber !== i + 1) wrong(`computation ${computation} has run ${run.runNumber} in place ${i + 1}`);
      const before = all[i - 1];
      if (before && !(before.finished < run.began))
        wrong(`run ${i + 1}, ${run.uuid}, began while ${before.uuid} was open`);
      if (before?.state === 'Complete') wrong(`run ${i + 1}, ${run.uuid}, is of what ${before.uuid} had computed`);
    }
  }
}

function keptAsTold(
  one: Told,
  story: Story | undefined,
  wrong: (what: string) => void,
  stories: ReadonlyMap<string, Story>,
): void {
  if (!story) {
    wrong(`somebody was told of job ${one.uuid}, which is not in the log`);
    return;
  }
  switch (one.kind) {
    case 'waits': {
      const end = Math.min(one.until, story.finished);
      const stood = story.waited.some(({ who, from, until }) => who === one.who && from < one.from && until >= end);
      if (!stood && one.from < end) wrong(`${one.who} was told at ${one.from} to wait for ${one.uuid}, until ${end}`);
      if (story.state === 'Cancelled' && story.finished < one.until)
        wrong(`${one.who} waited for ${one.uuid}, which was cancelled at ${story.finished}`);
      return;
    }
    case 'instead': {
      const before = stories.get(one.before);
      if (before && before.state !== 'Complete' && before.finished < one.at) return;
      wrong(`${one.who} was given ${one.uuid} instead of ${one.before}, which is ${before?.state}`);
      return;
    }
    case 'runs': {
      const attempt = story.attempts.find(({ digest }) => digest === digestOf(one.token));
      if (!attempt || (attempt.entries[0]?.place ?? 0) >= one.at)
        wrong(`a claim was told of ${one.uuid}, and has no attempt`);
      const digest = digestOf(one.token);
      const began = attempt?.entries[0]?.place ?? 0;
      // Of an attempt that has ended its token is free again.
      const stood = (its: Attempted) =>
        its.digest === digest && (its.entries[0]?.place ?? 0) < began && its.over > began;
      const others = [...stories.values()].filter((other) => other !== story && other.attempts.some(stood));
      if (others.length > 0) wrong(`one token was given ${one.uuid} and ${others.map(({ uuid }) => uuid)}`);
      return;
    }
    case 'heard': {
      const attempt = story.attempts.find(({ digest }) => digest === digestOf(one.token));
      const types = recordedBy[one.of];
      const said = attempt?.entries.some(
        ({ type, place }) => types.includes(type) && place < one.to && (one.of !== 'heartbeat' || place >= one.from),
      );
      if (!said) wrong(`a ${one.of} of ${one.uuid} was taken between ${one.from} and ${one.to}, and is not recorded`);
      if (one.of === 'completion' && story.output !== one.output)
        wrong(`${one.uuid} has another result than was taken`);
    }
  }
}

const recordedBy: Readonly<Record<Extract<Told, { kind: 'heard' }>['of'], readonly string[]>> = {
  heartbeat: ['JobProgressed', 'JobResumed'],
  completion: ['JobCompleted'],
  failure: ['JobFailed', 'JobAttemptEnded'],
  give_back: ['JobAttemptEnded', 'JobFailed'],
};
