import { auditForeign, type ForeignFinding } from '../../audit/audit-foreign.js';
import { exitCodes } from '../exit-code.js';
import { printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import type { AuditOptions } from './audit-options.js';
import { progress, withAuditedStore } from './audited-store.js';

/**
 * Prints every event that servers pass over, and every damaged job. The exit code tells if there is any.
 * @throws MemoirError as `withAuditedStore`
 */
export async function runAuditForeign(options: AuditOptions): Promise<void> {
  await withAuditedStore(options, async ({ log }) => {
    const tell = progress();
    const report = await auditForeign(
      log,
      (finding) => printLine(options.json ? JSON.stringify({ finding }) : findingText(finding)),
      (position, end) => tell(() => `at position ${position} of ${end}`),
    );
    const { to, events, findings } = report;
    const text = `${events} events up to position ${to}: ${findings} are passed over or damaged`;
    await printLine(options.json ? JSON.stringify({ report }) : text);
    if (findings > 0) process.exitCode = exitCodes.damaged;
  });
}

function findingText({ kind, stream, revision, id, type, position, why }: ForeignFinding): string {
  const event = `event ${revision} of stream ${printable(JSON.stringify(stream))}, ${printable(type)} ${printable(id)}`;
  return `${kind.toUpperCase()}: ${event}, at position ${position}: ${printable(why)}`;
}
