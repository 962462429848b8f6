import { Command } from 'commander';
import { MemoirError } from '../../domain/errors.js';
import { provesConsistency } from '../../domain/log-tree/check-proof.js';
import { openCheckpoint } from '../../domain/log-tree/checkpoint.js';
import { withClients } from '../client.js';
import { type RemoteOptions, remote } from '../options.js';
import { note, print } from '../text/output.js';
import { printable, printableLines } from '../text/printable.js';
import { type KeyOptions, keysOrServers, readSmall, withKeys } from './audit-evidence.js';

/** `memoir audit consistency`. */
export function auditConsistencyCommand(): Command {
  const command = new Command('consistency')
    .description(
      'have the server prove that its log goes on from a checkpoint, check that, and print the new checkpoint',
    )
    .argument('<checkpoint>', 'file of the checkpoint that was kept, "-" for standard input');
  return withKeys(remote(command)).action((file: string, options: RemoteOptions & KeyOptions) =>
    withClients(options, async (clients) => {
      const { audit, unary } = clients;
      const keys = await keysOrServers(options, clients);
      const older = openCheckpoint(readSmall(file), keys);
      const answer = await audit.getCheckpoint({}, unary);
      const newer = openCheckpoint(answer.note, keys);
      if (newer.size < older.size) {
        throw damaged(`the log has ${newer.size} events, but the checkpoint is of ${older.size}: events are gone`);
      }
      const sizes = { fromSize: BigInt(older.size), toSize: BigInt(newer.size) };
      const { hashes } = await audit.getConsistencyProof(sizes, unary);
      if (!provesConsistency(older, newer, hashes)) {
        throw damaged(
          `the log of ${newer.size} events does not go on from the checkpoint of ${older.size}: what was recorded before it was changed`,
        );
      }
      note(
        `proved: the log of ${newer.size} events of ${printable(newer.origin)} begins with the ${older.size} of the checkpoint`,
      );
      await print(printableLines(answer.note));
    }),
  );
}

function damaged(message: string): MemoirError {
  return new MemoirError('DATA_LOSS', 'NOT_CONSISTENT', message);
}
