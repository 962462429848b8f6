import { join } from 'node:path';
import { auditRebuild, type RebuildDifference } from '../../audit/audit-rebuild.js';
import type { Cell } from '../../audit/compare-tables.js';
import { exitCodes } from '../exit-code.js';
import { privateFromNow } from '../server/private-from-now.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import type { AuditOptions } from './audit-options.js';
import { progress, withAuditedStore } from './audited-store.js';

/** Most differences that are printed by name. */
const mostPrinted = 100;

/**
 * Compares a server's files with what its log gives, and prints the first rows that differ. The exit code tells if any does,
 * or if a file is damaged.
 * @throws MemoirError as `withAuditedStore` and `auditRebuild`
 */
export async function runAuditRebuild(options: AuditOptions): Promise<void> {
  privateFromNow();
  await withAuditedStore(options, async ({ config, log, directory }) => {
    const tell = progress();
    let printed = 0;
    const compared = await auditRebuild({
      log,
      files: {
        'read model': join(config.data_dir, 'read-model.sqlite'),
        history: join(config.data_dir, 'history.sqlite'),
      },
      directory,
      async onDifference(difference) {
        if (printed++ < mostPrinted)
          await printLine(options.json ? differenceJson(difference) : differenceText(difference));
      },
      onProgress: (file, stage, position, end) => tell(() => `${stage} ${file}: at position ${position} of ${end}`),
    });
    if (printed > mostPrinted) note(`and ${printed - mostPrinted} more differences`);
    for (const one of compared) {
      if ('damage' in one) {
        const { file, damage } = one;
        const what = `DAMAGED: ${file} cannot be compared: ${printable(damage)}; the next start of the server makes it anew`;
        await printLine(options.json ? JSON.stringify({ damaged: { file, damage } }) : what);
        process.exitCode = exitCodes.damaged;
        continue;
      }
      const { file, position, rows, differences } = one;
      const text = `${file} at position ${position}: ${rows} rows, ${differences} differ from what the log gives`;
      await printLine(options.json ? JSON.stringify({ compared: { file, position, rows, differences } }) : text);
      if (differences > 0) process.exitCode = exitCodes.damaged;
    }
  });
}

function differenceText({ file, table, kind, key, columns }: RebuildDifference): string {
  const named = Object.entries(key).map(([name, value]) => `${name} ${cellText(value)}`);
  const changed = Object.entries(columns).map(
    ([name, { found, right }]) => `    ${name}: found ${cellText(found)}; the log gives ${cellText(right)}`,
  );
  const what = { differs: 'DIFFERS', missing: 'MISSING', added: 'ADDED' }[kind];
  return [`${what}: ${file}, table ${table}, row ${named.join(', ')}`, ...changed].join('\n');
}

function differenceJson(difference: RebuildDifference): string {
  return JSON.stringify(difference, (_name, value: unknown) => {
    const buffer = value as { type?: unknown; data?: unknown } | null;
    const blob = typeof buffer === 'object' && buffer?.type === 'Buffer' && Array.isArray(buffer.data);
    return blob ? Buffer.from(buffer.data as number[]).toString('hex') : value;
  });
}

function cellText(value: Cell): string {
  if (value === null) return 'nothing';
  if (Buffer.isBuffer(value)) return `x'${value.toString('hex')}'`;
  return typeof value === 'number' ? String(value) : printable(JSON.stringify(value));
}
