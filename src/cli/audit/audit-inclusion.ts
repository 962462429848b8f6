import { Command } from 'commander';
import { MemoirError } from '../../domain/errors.js';
import { provesInclusion } from '../../domain/log-tree/check-proof.js';
import { openCheckpoint } from '../../domain/log-tree/checkpoint.js';
import { type Leaf, leafOfText, leafTextHash } from '../../domain/log-tree/leaf.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { sheet } from '../text/table.js';
import { type KeyOptions, keysOrServers, readSmall, withKeys } from './audit-evidence.js';

type Options = RemoteOptions & KeyOptions & { readonly checkpoint?: string; readonly json?: boolean };

/** `memoir audit inclusion`. */
export function auditInclusionCommand(): Command {
  const command = new Command('inclusion')
    .description('have the server prove that an event is under a checkpoint, check that, and print the event')
    .argument('<position>', 'position of the event in the log', integer(1, Number.MAX_SAFE_INTEGER))
    .option(
      '--checkpoint <file>',
      'the checkpoint that was kept, "-" for standard input (default: a new one of the server)',
    );
  return withKeys(remote(withJson(command))).action((position: number, options: Options) =>
    withClients(options, async (clients) => {
      const { audit, unary } = clients;
      const keys = await keysOrServers(options, clients);
      const held =
        options.checkpoint === undefined ? (await audit.getCheckpoint({}, unary)).note : readSmall(options.checkpoint);
      const checkpoint = openCheckpoint(held, keys);
      const asked = {
        event: { case: 'position' as const, value: BigInt(position) },
        treeSize: BigInt(checkpoint.size),
      };
      const { leafIndex, leafText, leafHash, hashes } = await audit.getInclusionProof(asked, unary);
      const leaf = leafOfText(leafText);
      const index = Number(leafIndex);
      const hash = leafText === '' ? leafHash : leafTextHash(leafText);
      if ((leafText !== '' && !leaf) || !provesInclusion(hash, index, checkpoint, hashes)) {
        throw new MemoirError(
          'DATA_LOSS',
          'NOT_INCLUDED',
          `what the server says is the event at position ${position} is not proved to be under the checkpoint of ${checkpoint.size} events`,
        );
      }
      note(
        `proved: it is event ${index + 1} of the ${checkpoint.size} of the checkpoint of ${printable(checkpoint.origin)}`,
      );
      if (leaf) return printLine(options.json ? eventJson(position, index, leaf) : eventSheet(leaf));
      const hex = Buffer.from(hash).toString('hex');
      note('what is hashed of it is for those who may read all, so that the hash alone is proved');
      await printLine(options.json ? JSON.stringify({ position, leaf_index: index, leaf_hash: hex }) : hex);
    }),
  );
}

function eventJson(position: number, leafIndex: number, { recordedAt, ...leaf }: Leaf): string {
  return JSON.stringify({ position, leaf_index: leafIndex, recorded_at: timeText(recordedAt), ...leaf });
}

function eventSheet({ stream, revision, id, type, recordedAt, metadata, data }: Leaf): string {
  return sheet([
    ['event', printable(type)],
    ['stream', `${printable(stream)}, revision ${revision}`],
    ['id', printable(id)],
    ['recorded', timeText(recordedAt)],
    ['metadata', printable(metadata)],
    ['data', printable(data)],
  ]);
}

/** The time as ISO 8601; as it is, where it is beyond what that can say. */
function timeText(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? String(ms) : time.toISOString();
}
