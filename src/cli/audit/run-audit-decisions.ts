import { join } from 'node:path';
import { DecisionSchema } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { auditDecisions } from '../../audit/audit-decisions.js';
import type { Finding } from '../../audit/audit-report.js';
import { systemEdge } from '../../edge.js';
import { openRepositories } from '../../git/repositories.js';
import { remoteRules, repositoryPlaces } from '../../serving/repository-places.js';
import { exitCodes } from '../exit-code.js';
import { openLogger } from '../server/logger.js';
import { printLine, protoJson } from '../text/output.js';
import { printable } from '../text/printable.js';
import type { AuditOptions } from './audit-options.js';
import { progress, withAuditedStore } from './audited-store.js';

/** Options of `memoir audit decisions`. */
export type AuditDecisionsOptions = AuditOptions & { readonly from: number; readonly to?: number };

/**
 * Audits the decisions of a store, and prints those that differ. The exit code tells if any does.
 * @throws MemoirError as `withAuditedStore`
 */
export async function runAuditDecisions(options: AuditDecisionsOptions): Promise<void> {
  await withAuditedStore(options, async ({ config, log, directory }) => {
    const repositories = await openRepositories(repositoryPlaces(config), {
      edge: systemEdge,
      // Not the server's: it may be running, and nobody else writes there.
      directory: join(directory, 'git'),
      log: openLogger('warn'),
      remotes: remoteRules(config),
    });
    try {
      const tell = progress();
      const report = await auditDecisions({
        log,
        repositories,
        directory,
        from: options.from,
        ...(options.to !== undefined && { to: options.to }),
        onFinding: (finding) => printLine(options.json ? findingJson(finding) : findingText(finding)),
        onProgress: (stage, position, end) =>
          tell(
            () =>
              `${stage === 'reading' ? 'reading the log' : 'taking decisions again'}: at position ${position} of ${end}`,
          ),
      });
      await printLine(options.json ? JSON.stringify({ report }) : reportText(report));
      if (report.differing > 0) process.exitCode = exitCodes.damaged;
    } finally {
      await repositories.close();
    }
  });
}

function findingJson({ recorded, derived, ...finding }: Finding): string {
  const decision = (one: typeof recorded) => one && (JSON.parse(protoJson(DecisionSchema, one, false)) as object);
  return JSON.stringify({ ...finding, recorded: decision(recorded), derived: decision(derived) });
}

function findingText({ position, uuid, kind, why, differences }: Finding): string {
  const lines = differences.map(
    ({ what, recorded, derived }) => `    ${what}: recorded ${printable(recorded)}; comes out ${printable(derived)}`,
  );
  const head = kind === 'differs' ? 'DIFFERS' : 'cannot be taken again';
  return [`${head}: the decision at position ${position}, job ${printable(uuid)}: ${printable(why)}`, ...lines].join(
    '\n',
  );
}

function reportText({
  from,
  to,
  same,
  byLogBefore,
  differing,
  underivable,
}: Awaited<ReturnType<typeof auditDecisions>>) {
  const older = byLogBefore === 0 ? '' : ` (${byLogBefore} of an older version, by the log before them)`;
  return (
    `decisions after position ${from} up to ${to}: ${same} come out the same${older}, ${differing} differ, ` +
    `${underivable} cannot be taken again`
  );
}
