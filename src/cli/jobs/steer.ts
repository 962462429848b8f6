import { Command } from 'commander';
import {
  CancelJobResponseSchema,
  DeleteJobResponseSchema,
  UpdateJobResponseSchema,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid } from '../../domain/errors.js';
import { withClients } from '../client.js';
import { integer, named, type RemoteOptions, remote, withJson } from '../options.js';
import { jobSheet } from '../text/job-view.js';
import { printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

type SteerOptions = RemoteOptions & { readonly json?: boolean };

type UpdateOptions = SteerOptions & {
  readonly priority?: number;
  readonly description?: string;
  readonly component?: Readonly<Record<string, string>>;
  readonly components?: boolean;
  readonly label?: Readonly<Record<string, string>>;
  readonly labels?: boolean;
  readonly expectedRevision?: number;
};

/** `memoir cancel`. */
export function cancelCommand(): Command {
  const command = new Command('cancel')
    .description('cancel a job that has not finished')
    .argument('<uuid>', uuidHelp)
    .option('--cascade', 'cancel also the unfinished jobs among its components, and theirs, and so on');
  return remote(withJson(command)).action((given: string, options: SteerOptions & { readonly cascade?: boolean }) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      const answer = await clients.jobs.cancelJob({ uuid, cascade: options.cascade ?? false }, clients.unary);
      if (options.json) return printMessage(CancelJobResponseSchema, answer);
      for (const cancelled of answer.cancelledUuids) await printLine(`cancelled ${printable(cancelled)}`);
      if (answer.cancelledUuids.length === 0) await printLine(`${printable(uuid)} was cancelled before`);
    }),
  );
}

/** `memoir update`. */
export function updateCommand(): Command {
  const command = new Command('update')
    .description('change what may change of a job')
    .argument('<uuid>', uuidHelp)
    .option('--priority <number>', 'new priority of a job that has not finished', integer(-0x8000_0000, 0x7fff_ffff))
    .option('--description <text>', 'new description')
    .option(
      '--component <name=uuid>',
      'a job that this one starts, by its whole uuid (repeatable); all together replace the old',
      named,
    )
    .option('--no-components', 'remove all components')
    .option('--label <name=value>', 'a label (repeatable); all together replace the old', named)
    .option('--no-labels', 'remove all labels')
    .option('--expected-revision <number>', 'change it only if it is at this revision', integer(0, 0xffff_ffff));
  return remote(withJson(command)).action((given: string, options: UpdateOptions) =>
    withClients(options, async (clients) => {
      const { priority, description, component, components, label, labels, expectedRevision } = options;
      const clear = components === false;
      if (clear && component) {
        throw invalid('components', 'BAD_OPTIONS', '--component and --no-components exclude each other');
      }
      if (labels === false && label) {
        throw invalid('labels', 'BAD_OPTIONS', '--label and --no-labels exclude each other');
      }
      const paths = [
        ...(priority === undefined ? [] : ['priority']),
        ...(description === undefined ? [] : ['description']),
        ...(component || clear ? ['components'] : []),
        ...(label || labels === false ? ['labels'] : []),
      ];
      if (paths.length === 0) throw invalid('update_mask', 'BAD_OPTIONS', 'nothing to change is given');
      const uuid = await wholeUuid(clients, given);
      const answer = await clients.jobs.updateJob(
        {
          job: {
            uuid,
            priority: priority ?? 0,
            description: description ?? '',
            components: { ...component },
            labels: { ...label },
          },
          updateMask: { paths },
          ...(expectedRevision !== undefined && { expectedRevision }),
        },
        clients.unary,
      );
      if (options.json) return printMessage(UpdateJobResponseSchema, answer);
      if (answer.job) await printLine(jobSheet(answer.job, Date.now()));
    }),
  );
}

/** `memoir delete`. */
export function deleteCommand(): Command {
  const command = new Command('delete')
    .description('take a finished job out of every read and out of reuse; its history stays')
    .argument('<uuid>', uuidHelp);
  return remote(withJson(command)).action((given: string, options: SteerOptions) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      const answer = await clients.jobs.deleteJob({ uuid }, clients.unary);
      if (options.json) await printMessage(DeleteJobResponseSchema, answer);
      else await printLine(`deleted ${printable(uuid)}`);
    }),
  );
}
