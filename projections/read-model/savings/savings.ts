import type Database from 'better-sqlite3';
import { jobStream } from '../../../src/domain/streams.js';
import { millis } from '../../running/millis.js';
import type { Projection } from '../../running/projection.js';
import { blockSize, type Entry, entryKinds, ledgerQueries, ledgerTables, ledgerWriter } from './ledger.js';
import { type Party, partyNumbers, placeNumbers } from './parties.js';

/**
 * What runs took, and what answers with past or common runs saved: docs/savings.md says what counts for whom, and when. Beside the ledger, one row in `saving_run` for each
 * job that was run, by the position of its JobRequested: the attempt that runs or ran last (`since` when it was claimed; `ended` what was counted of it
 * on `ended_at`, NULL while it runs), and once the job is complete what the run took that gave its result. `saving_join` has the interests that stand on
 * unfinished jobs beside their owners'. Times are in milliseconds since 1970-01-01T00:00Z.
 */
export const savings: Projection = savingsOf(blockSize);

/** The projection with blocks of another size. */
export function savingsOf(size: number): Projection {
  return {
    name: 'savings',
    version: 1,
    tables: ['saving', 'saving_block', 'saving_party', 'saving_place', 'saving_run', 'saving_join'],
    schema: `${ledgerTables}
    CREATE TABLE saving_party (
      id INTEGER PRIMARY KEY,
      principal TEXT NOT NULL,
      repository TEXT NOT NULL,
      script TEXT NOT NULL,
      UNIQUE (principal, repository, script)
    ) STRICT;
    CREATE TABLE saving_place (
      id INTEGER PRIMARY KEY,
      labels TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE saving_run (
      job INTEGER PRIMARY KEY,
      party INTEGER NOT NULL,
      place INTEGER NOT NULL,
      is_check INTEGER NOT NULL,
      since INTEGER NOT NULL,
      ended INTEGER,
      ended_at INTEGER,
      result INTEGER
    ) STRICT;
    CREATE TABLE saving_join (
      job INTEGER NOT NULL,
      principal TEXT NOT NULL,
      interest TEXT NOT NULL,
      PRIMARY KEY (job, principal, interest)
    ) STRICT, WITHOUT ROWID;
  `,
    prepare(db, positionOf) {
      const { result, noResult, check, reused, joined } = entryKinds;
      const parties = partyNumbers(db);
      const places = placeNumbers(db);
      const add = ledgerWriter(db, size);
      // Rows of jobs keep what is read here as long as there are any.
      const factsOf = db.prepare(
        "SELECT owner AS principal, repository, script, check_of <> '' AS isCheck FROM job WHERE position = ?",
      );
      const run = db.prepare('SELECT * FROM saving_run WHERE job = ?');
      const begin = db.prepare(`
        INSERT OR REPLACE INTO saving_run (job, party, place, is_check, since) VALUES (?, ?, ?, ?, ?)`);
      const end = db.prepare('UPDATE saving_run SET ended = ?, ended_at = ?, result = ? WHERE job = ?');
      const goOn = db.prepare('UPDATE saving_run SET ended = NULL, ended_at = NULL WHERE job = ?');
      const join = db.prepare('INSERT OR REPLACE INTO saving_join (job, principal, interest) VALUES (?, ?, ?)');
      const leave = db.prepare('DELETE FROM saving_join WHERE job = ? AND principal = ? AND interest = ?');
      const leaveAll = db.prepare('DELETE FROM saving_join WHERE job = ?');
      const joins = db.prepare(
        'SELECT principal, count(*) AS answers FROM saving_join WHERE job = ? GROUP BY principal',
      );

      // What is kept at hand is as the tables have it: where a batch is rolled back all of this is made anew.
      const runs = new Map<number, RunRow>();
      const requested = new Map<number, Facts>();
      const joinedJobs = new Set(db.prepare('SELECT DISTINCT job FROM saving_join').pluck().all() as number[]);

      function runOf(job: number | null): RunRow | undefined {
        if (job === null) return undefined;
        const known = runs.get(job) ?? (run.get(job) as RunRow | undefined);
        if (known) keepAtHand(runs, job, known);
        return known;
      }

      function allLeave(job: number | null): void {
        if (job !== null && joinedJobs.delete(job)) leaveAll.run(job);
      }

      /** Counts the run of a job that ends at a time, if one goes on, and gives what it gave and took. */
      function ends(
        job: number | null,
        kind: typeof result | typeof noResult,
        { position, at }: When,
      ): RunRow | undefined {
        const row = runOf(job);
        if (job === null || !row || row.ended !== null) return undefined;
        const ms = Math.max(0, at - row.since);
        const { party, place } = row;
        add({ position, at, kind: row.is_check ? check : kind, party, place, answers: 0, ms });
        const gave = kind === result ? ms : null;
        end.run(ms, at, gave, job);
        const ended = { ...row, ended: ms, ended_at: at, result: gave };
        keepAtHand(runs, job, ended);
        return ended;
      }

      /** Counts an answer for a principal, as saving the run that gave a result. */
      function saved(
        principal: string,
        { party, place, result: ms }: RunRow,
        entry: When & Pick<Entry, 'kind' | 'answers'>,
      ): void {
        const { repository, script } = parties.of(party);
        add({
          ...entry,
          party: parties.number({ principal, repository, script }),
          place,
          ms: entry.answers * (ms ?? 0),
        });
      }

      return {
        JobRequested({ owner: principal, repository, script, checkOf }, { position }) {
          keepAtHand(requested, position, { principal, repository, script, isCheck: Number(checkOf !== '') });
        },
        JobStarted({ startedAt, offer }, { stream }) {
          const job = positionOf(stream);
          const facts = job === null ? undefined : (requested.get(job) ?? (factsOf.get(job) as Facts | undefined));
          if (job === null || !facts) return;
          const { isCheck: is_check } = facts;
          const [party, place, since] = [parties.number(facts), places(offer?.labels ?? {}), millis(startedAt)];
          begin.run(job, party, place, is_check, since);
          keepAtHand(runs, job, { party, place, is_check, since, ended: null, ended_at: null, result: null });
        },
        JobAttemptEnded({ endedAt }, { stream, position }) {
          ends(positionOf(stream), noResult, { position, at: millis(endedAt) });
        },
        JobResumed(_event, { stream, position }) {
          const job = positionOf(stream);
          const row = runOf(job);
          if (job === null || !row || row.ended === null || row.ended_at === null) return;
          // It did not end there after all.
          const { party, place, ended, ended_at: at } = row;
          add({ position, at, kind: row.is_check ? check : noResult, party, place, answers: 0, ms: -ended });
          goOn.run(job);
          keepAtHand(runs, job, { ...row, ended: null, ended_at: null });
        },
        JobFailed({ failedAt }, { stream, position }) {
          const job = positionOf(stream);
          ends(job, noResult, { position, at: millis(failedAt) });
          allLeave(job);
        },
        JobCancelled({ cancelledAt }, { stream, position }) {
          const job = positionOf(stream);
          ends(job, noResult, { position, at: millis(cancelledAt) });
          allLeave(job);
        },
        JobCompleted({ completedAt }, { stream, position }) {
          const job = positionOf(stream);
          const when = { position, at: millis(completedAt) };
          const row = ends(job, result, when);
          if (row && job !== null && joinedJobs.has(job)) {
            for (const { principal, answers } of joins.all(job) as { principal: string; answers: number }[]) {
              saved(principal, row, { ...when, kind: joined, answers });
            }
          }
          allLeave(job);
        },
        JobReused({ uuid, requestedBy, reusedAt }, { position }) {
          const row = runOf(positionOf(jobStream(uuid)));
          if (!row || row.result === null) return;
          saved(requestedBy, row, { position, at: millis(reusedAt), kind: reused, answers: 1 });
        },
        JobJoined({ principal, interest, submitId }, { stream, id }) {
          const job = positionOf(stream);
          if (job === null) return;
          joinedJobs.add(job);
          join.run(job, principal, interest || submitId || id);
        },
        JobLeft({ principal, interest }, { stream }) {
          leave.run(positionOf(stream), principal, interest);
        },
      };
    },
  };
}

/** Whose a job is, and whether it is a second run. */
type Facts = Party & { readonly isCheck: number };

/** Most jobs that are kept at hand. */
const cacheSize = 20_000;

function keepAtHand<T>(those: Map<number, T>, job: number, value: T): void {
  if (those.size >= cacheSize) those.clear();
  those.set(job, value);
}

/** Where an event stands in the log, and its own time. */
type When = Pick<Entry, 'position' | 'at'>;

type RunRow = {
  readonly party: number;
  readonly place: number;
  readonly is_check: number;
  readonly since: number;
  readonly ended: number | null;
  readonly ended_at: number | null;
  readonly result: number | null;
};

/** Reads of what was spent and saved. */
export function savingQueries(db: Database.Database, size = blockSize) {
  const party = db.prepare('SELECT principal, repository, script FROM saving_party WHERE id = ?');
  const place = db.prepare('SELECT labels FROM saving_place WHERE id = ?').pluck();
  return {
    ...ledgerQueries(db, size),
    /** Who, where and what a number stands for. */
    party: (id: number) => party.get(id) as Party,
    /** The labels of workers that a number stands for, name to value. */
    labels: (id: number) => new Map(JSON.parse(place.get(id) as string) as [string, string][]),
  };
}
