import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import { invalid, quote } from '../../domain/errors.js';
import { filtersFromText } from '../../domain/filters/from-triple.js';
import { holds, type StoreFinding, verifyStore } from '../../worker/store/verify-store.js';
import { type Clients, withClients } from '../client.js';
import { exitCodes } from '../exit-code.js';
import type { RemoteOptions } from '../options.js';
import { printLine } from '../text/output.js';
import { printable } from '../text/printable.js';

/** Options of `memoir store verify`. */
export type StoreVerifyOptions = RemoteOptions & {
  readonly storeDir: string;
  readonly jobs?: boolean;
  readonly json?: boolean;
};

/**
 * Prints what is wrong with a store of contents; the exit code tells whether anything is.
 * @throws MemoirError INVALID_ARGUMENT if the directory is no store; CallError
 */
export async function runStoreVerify(options: StoreVerifyOptions): Promise<void> {
  const directory = resolve(options.storeDir);
  const found = await stat(join(directory, 'sha256')).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw invalid('store-dir', 'BAD_OPTIONS', `--store-dir ${quote(options.storeDir)} is no store of a worker`);
  }
  let findings = 0;
  const tell = async (finding: StoreFinding) => {
    // What has no place in a store does it no harm.
    if (finding.kind !== 'foreign') findings += 1;
    await printLine(options.json ? JSON.stringify(finding) : text(finding));
  };
  const counts = await verifyStore(directory, tell);
  const jobs = options.jobs ? await withClients(options, (clients) => verifyJobs(clients, directory, tell)) : undefined;
  const summary = { ...counts, ...(jobs !== undefined && { jobs }), findings };
  if (options.json) await printLine(JSON.stringify({ kind: 'summary', ...summary }));
  else {
    const ofJobs = jobs === undefined ? '' : `, ${jobs} complete jobs`;
    const what = `${counts.contents} contents of ${counts.bytes} bytes, ${counts.manifests} manifests${ofJobs}`;
    await printLine(`${what}: ${findings === 0 ? 'all is there and as it was stored' : `${findings} findings`}`);
  }
  if (findings > 0) process.exitCode = exitCodes.damaged;
}

/** Looks for what the complete jobs of a server say that they made. Gives how many there are. */
async function verifyJobs(
  clients: Clients,
  directory: string,
  tell: (finding: StoreFinding) => Promise<void>,
): Promise<number> {
  const filters = filtersFromText('["state","=","Complete"]', 'state');
  const select = create(FieldMaskSchema, { paths: ['output', 'log', 'output_v1'] });
  let count = 0;
  let pageToken = '';
  do {
    const page = await clients.jobs.listJobs({ filters, select, pageSize: 1_000, pageToken }, clients.unary);
    for (const { uuid, output, log, outputV1 } of page.jobs) {
      // Servers keep these.
      if (outputV1 !== '') continue;
      count += 1;
      for (const [what, address] of [
        ['output', output],
        ['log', log],
      ] as const) {
        if (address === '' || (await holds(directory, address))) continue;
        await tell({ kind: 'missing', address, of: `${what} of job ${uuid}` });
      }
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return count;
}

function text(finding: StoreFinding): string {
  switch (finding.kind) {
    case 'damaged':
      return `damaged: ${finding.sha256}: ${printable(finding.why)}`;
    case 'lost':
      return `lost: ${printable(finding.path)} of ${finding.address}, its content ${finding.sha256}`;
    case 'missing':
      return `missing: ${finding.address}, ${printable(finding.of)}`;
    case 'foreign':
      return `foreign: ${printable(finding.path)} is no content`;
  }
}
