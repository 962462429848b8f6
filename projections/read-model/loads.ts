import type Database from 'better-sqlite3';

/**
 * SQL that makes the tables of how many jobs are queued and run: by whose turns they take, and by repository. Second runs to compare are not among
 * them, and are counted by themselves, queued and running together.
 */
export const loadTables = `
    CREATE TABLE owner_load (
      owner TEXT PRIMARY KEY,
      queued INTEGER NOT NULL,
      running INTEGER NOT NULL,
      checks INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE repository_load (repository TEXT PRIMARY KEY, running INTEGER NOT NULL) STRICT, WITHOUT ROWID;`;

type Counted = {
  readonly owner: string;
  readonly repository: string;
  /** 1 if it runs another again to compare. */
  readonly is_check: number;
};

/** Counts, as part of the projection of the queue. */
export function loadWriter(db: Database.Database) {
  const owner = db.prepare(`
    INSERT INTO owner_load (owner, queued, running, checks) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET queued = queued + excluded.queued, running = running + excluded.running,
      checks = checks + excluded.checks`);
  const repository = db.prepare(`
    INSERT INTO repository_load (repository, running) VALUES (?, ?)
    ON CONFLICT DO UPDATE SET running = running + excluded.running`);
  return {
    /** One job more is queued, or one less. */
    queued(job: Counted, change: 1 | -1): void {
      if (job.is_check) owner.run(job.owner, 0, 0, change);
      else owner.run(job.owner, change, 0, 0);
    },
    /** A job that was queued runs. */
    started(job: Counted): void {
      if (job.is_check) return;
      owner.run(job.owner, -1, 1, 0);
      repository.run(job.repository, 1);
    },
    /** One job more runs, or one less. */
    running(job: Counted, change: 1 | -1): void {
      if (job.is_check) {
        owner.run(job.owner, 0, 0, change);
        return;
      }
      owner.run(job.owner, 0, change, 0);
      repository.run(job.repository, change);
    },
  };
}

/** How many jobs of an owner are queued and run. */
export type OwnerLoad = { readonly queued: number; readonly running: number; readonly checks: number };

const noLoad: OwnerLoad = { queued: 0, running: 0, checks: 0 };

/** Reads of the counts. */
export function loadQueries(db: Database.Database) {
  const owner = db.prepare('SELECT queued, running, checks FROM owner_load WHERE owner = ?');
  const repository = db.prepare('SELECT running FROM repository_load WHERE repository = ?').pluck();
  return {
    /** How many jobs take the turns of an owner. */
    loadOfOwner: (name: string) => (owner.get(name) as OwnerLoad | undefined) ?? noLoad,
    /** How many jobs of a repository run. */
    runningOfRepository: (name: string) => (repository.get(name) as number | undefined) ?? 0,
  };
}
