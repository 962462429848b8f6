import { setTimeout as delay } from 'node:timers/promises';
import type { Decision } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { MemoirError } from '../domain/errors.js';
import { uuidOfAnyJobStream } from '../domain/streams.js';
import type { EventLog, Position } from '../eventstore/port.js';
import { commitRanges } from '../exclusions/commit-ranges.js';
import type { Repositories } from '../git/port.js';
import { type DecisionsReport, differencesOf, type Finding } from './audit-report.js';
import { contradicted } from './contradicted.js';
import { buildPast } from './past-of-log.js';
import { type RecordedDecision, recordedDecision, type UnreadableDecision } from './recorded-decision.js';
import { NoSuchAnswer, type Rederive, rederiver, Underivable } from './rederive.js';
import { unreadTooLong } from './unread-answer.js';

/** How long to wait before a history that is being loaded is asked for again, in milliseconds. */
const patience = 200;

/** What is audited, and who is told. */
export type DecisionsAudit = {
  readonly log: EventLog;
  readonly repositories: Repositories;
  /** An empty directory for what is derived from the log: about the size of the server's own. */
  readonly directory: string;
  /** Only decisions recorded after this position. */
  readonly from: Position;
  /** Only decisions recorded up to this position; to the present end of the log unless given. */
  readonly to?: Position;
  readonly onFinding: (finding: Finding) => Promise<void> | void;
  /** Told now and then of how far the audit is. */
  readonly onProgress?: (stage: 'reading' | 'deriving', position: Position, end: Position) => void;
};

/**
 * Takes every recorded decision again, from what the log had told when it was taken, by the rules that CreateJob has, and tells of
 * each that comes out otherwise. The memory that it needs does not grow with the log.
 */
export async function auditDecisions(audit: DecisionsAudit): Promise<DecisionsReport> {
  const { log, repositories, directory, from, onFinding, onProgress } = audit;
  const end = Math.min(audit.to ?? Number.POSITIVE_INFINITY, await log.end());
  const counts = { same: 0, byLogBefore: 0, differing: 0, underivable: 0 };
  const past = await buildPast(log, end, directory, (position) => onProgress?.('reading', position, end));
  try {
    const rederive = rederiver({ log, past, repositories, ranges: commitRanges(repositories) });
    for await (const recorded of log.readAll(from)) {
      if (recorded.position > end) break;
      const decision = recordedDecision(recorded);
      if (!decision) continue;
      onProgress?.('deriving', recorded.position, end);
      const finding = await judge(
        rederive,
        async (one) => contradicted(past, one) ?? unreadTooLong(log, past, one),
        decision,
      );
      if (!finding) {
        counts.same++;
        if ('decision' in decision && !decision.basis) counts.byLogBefore++;
        continue;
      }
      if (finding.kind === 'differs') counts.differing++;
      else counts.underivable++;
      await onFinding(finding);
    }
  } finally {
    past.close();
  }
  return { from, to: end, ...counts };
}

/** What is wrong with a decision; undefined if it comes out the same. */
async function judge(
  rederive: Rederive,
  contradiction: (decision: RecordedDecision) => Promise<string | undefined>,
  decision: RecordedDecision | UnreadableDecision,
): Promise<Finding | undefined> {
  if ('unreadable' in decision) {
    const { position, stream } = decision.recorded;
    const why = `its decision cannot be read: ${decision.unreadable}`;
    return { position, uuid: uuidOfAnyJobStream(stream) ?? '', kind: 'differs', why, differences: [] };
  }
  const { decision: recorded, basis } = decision;
  const { position } = decision.recorded;
  const about = { position, uuid: recorded.uuid, recorded };
  if (basis && Number(basis.position) >= position) {
    const why = `it says that it was taken from the log up to position ${basis.position}, which is not before it`;
    return { ...about, kind: 'differs', why, differences: [] };
  }
  let derived: Decision;
  try {
    derived = await patiently(() => rederive(decision));
  } catch (error) {
    if (error instanceof NoSuchAnswer) return { ...about, kind: 'differs', why: error.message, differences: [] };
    if (!(error instanceof Underivable) && !(error instanceof MemoirError)) throw error;
    return { ...about, kind: 'underivable', why: error.message, differences: [] };
  }
  const differences = differencesOf(recorded, derived);
  if (differences.length === 0) {
    const why = await contradiction(decision);
    return why === undefined ? undefined : { ...about, kind: 'differs', why, derived, differences };
  }
  if (basis) return { ...about, kind: 'differs', why: 'another decision comes out', derived, differences };
  const why =
    'another decision comes out of the log before it, but the version that recorded it did not say what it saw';
  return { ...about, kind: 'underivable', why, derived, differences };
}

/** Reasons of errors that pass by themselves. */
const loading: readonly string[] = ['HISTORY_LOADING', 'MIRROR_FETCHING'];

async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MemoirError && loading.includes(error.reason))) throw error;
      await delay(patience);
    }
  }
}
