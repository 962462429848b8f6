import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import {
  EraseContentResponseSchema,
  GetUsageResponseSchema,
  PinJobResponseSchema,
  SweepContentResponseSchema,
  UnpinJobResponseSchema,
  VerifyContentResponseSchema,
} from '../../../gen/memoir/content/v1/retention_service_pb.js';
import { withClients } from '../client.js';
import { uuidHelp, wholeUuid } from '../jobs/uuid-prefix.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { bytesText } from '../text/bytes-text.js';
import { note, printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { progressLine } from '../text/progress-line.js';
import { table } from '../text/table.js';
import { importStoreCommand } from './import-store.js';

type Options = RemoteOptions & { readonly json?: boolean };

/** Exit code where something is lost. */
const somethingLost = 4;

/** `memoir content`. */
export function contentCommand(): Command {
  const command = new Command('content').description('what the server keeps of jobs, and for how long');
  for (const one of [usageCommand(), verifyCommand(), gcCommand(), eraseCommand(), importStoreCommand()])
    command.addCommand(one);
  return command;
}

function usageCommand(): Command {
  const command = new Command('usage').description('print how much is kept, by whom, and how much room is left');
  return remote(withJson(command)).action((options: Options) =>
    withClients(options, async (clients) => {
      const answer = await clients.retention.getUsage({}, clients.unary);
      if (options.json) return printMessage(GetUsageResponseSchema, answer);
      const { blobs, bytes, kept, lost, freeBytes, diskBytes } = answer;
      const isHere = diskBytes > 0n;
      await printLine(
        `${kept} outputs and logs, ${lost} lost${isHere ? `; ${blobs} blobs of ${bytesText(Number(bytes))}` : ''}`,
      );
      if (isHere) await printLine(`${bytesText(Number(freeBytes))} of ${bytesText(Number(diskBytes))} are free`);
      if (answer.principals.length === 0) return;
      const rows = answer.principals.map((one) => [
        one.principal === '' ? '(no job)' : printable(one.principal),
        String(one.kept),
        bytesText(Number(one.bytes)),
      ]);
      await printLine(table(['PRINCIPAL', 'KEPT', 'BYTES'], rows));
    }),
  );
}

function verifyCommand(): Command {
  const command = new Command('verify').description(
    'look whether everything that is kept is whole, and record what is lost and what is there again',
  );
  return remote(withJson(command)).action((options: Options) =>
    withClients(options, async (clients) => {
      const answer = create(VerifyContentResponseSchema);
      const line = await progressLine('looking', Date.now);
      try {
        for await (const told of clients.retention.streamVerifyContent({})) {
          const { lookedAt, total, newlyLost, found, lost } = told;
          Object.assign(answer, { lookedAt, newlyLost, found });
          line.clear();
          for (const one of lost) {
            answer.lost.push(one);
            if (!options.json) await printLine(`lost ${printable(one.address)}: ${printable(one.detail)}`);
          }
          line.set(`${lookedAt} of ${total} outputs and logs looked at, ${answer.lost.length} lost`);
        }
      } finally {
        line.stop();
      }
      if (options.json) await printMessage(VerifyContentResponseSchema, answer);
      else {
        const { lookedAt, newlyLost, found, lost } = answer;
        await printLine(`${lookedAt} looked at, ${lost.length} lost (${newlyLost} of them now), ${found} found again`);
      }
      if (answer.lost.length > 0) process.exitCode = somethingLost;
    }),
  );
}

function gcCommand(): Command {
  const command = new Command('gc')
    .description('take away what nothing keeps any more, as the server does by itself every hour')
    .option('--dry-run', 'print what would go, and take nothing away');
  return remote(withJson(command)).action((options: Options & { readonly dryRun?: boolean }) =>
    withClients(options, async (clients) => {
      const { dryRun = false } = options;
      const answer = create(SweepContentResponseSchema);
      const line = await progressLine('looking', Date.now);
      try {
        for await (const told of clients.retention.streamSweepContent({ dryRun })) {
          const { lookedAt, total, blobsLookedAt, evicted, done, blobs, bytes, kept } = told;
          if (done) Object.assign(answer, { blobs, bytes, kept });
          line.clear();
          for (const one of evicted) {
            answer.evicted.push(one);
            if (!options.json) await printLine(printable(one));
          }
          const more = blobsLookedAt === 0n ? '' : `, ${blobsLookedAt} blobs`;
          line.set(`${lookedAt} of ${total} outputs and logs looked at${more}`);
        }
      } finally {
        line.stop();
      }
      answer.evictedCount = BigInt(answer.evicted.length);
      if (options.json) return printMessage(SweepContentResponseSchema, answer);
      const { evictedCount, blobs, bytes, kept } = answer;
      const did = dryRun ? 'would go' : 'went';
      await printLine(
        `${evictedCount} outputs and logs ${did}, ${blobs} blobs of ${bytesText(Number(bytes))}; ${kept} stay`,
      );
    }),
  );
}

function eraseCommand(): Command {
  const command = new Command('erase')
    .description('take a blob or tree away for good: what has it is lost, and it is not taken again')
    .argument('<address>', '"sha256:" and 64 hexadecimal digits')
    .requiredOption('--reason <text>', 'why');
  return remote(withJson(command)).action((address: string, options: Options & { readonly reason: string }) =>
    withClients(options, async (clients) => {
      // It looks through everything that is kept, which takes what it takes.
      const answer = await clients.retention.eraseContent({ address, reason: options.reason });
      if (options.json) return printMessage(EraseContentResponseSchema, answer);
      for (const one of answer.lost) await printLine(`lost ${printable(one)}`);
      for (const one of answer.stays) {
        await printLine(
          `stays ${printable(one.address)} (${printable(one.path)}): ${printable(one.neededBy)} needs it`,
        );
      }
      const more = Number(answer.staysCount) - answer.stays.length;
      if (more > 0) note(`and ${more} more stay`);
      const { blobs, lostCount } = answer;
      await printLine(
        `erased ${printable(address)}: ${blobs} blobs are gone, ${lostCount} outputs and logs are lost by it`,
      );
    }),
  );
}

/** `memoir pin` and `memoir unpin`. */
export function pinCommands(): Command[] {
  const pin = new Command('pin')
    .description('keep the output and log of a job until it is unpinned')
    .argument('<uuid>', uuidHelp);
  const unpin = new Command('unpin')
    .description('have the output and log of a job stay as long as those of others')
    .argument('<uuid>', uuidHelp);
  return [
    remote(withJson(pin)).action((prefix: string, options: Options) =>
      withClients(options, async (clients) => {
        const uuid = await wholeUuid(clients, prefix);
        const answer = await clients.retention.pinJob({ uuid }, clients.unary);
        if (options.json) return printMessage(PinJobResponseSchema, answer);
        return printLine(`what job ${printable(uuid)} left stays until it is unpinned`);
      }),
    ),
    remote(withJson(unpin)).action((prefix: string, options: Options) =>
      withClients(options, async (clients) => {
        const uuid = await wholeUuid(clients, prefix);
        const answer = await clients.retention.unpinJob({ uuid }, clients.unary);
        if (options.json) return printMessage(UnpinJobResponseSchema, answer);
        return printLine(`what job ${printable(uuid)} left stays as long as that of others`);
      }),
    ),
  ];
}
