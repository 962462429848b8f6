import { Command } from 'commander';
import {
  type CancelJobResponse,
  CancelJobResponseSchema,
  CancelJobsResponseSchema,
  DeleteJobResponseSchema,
  DeleteJobsResponseSchema,
  UpdateJobResponseSchema,
  UpdateJobsResponseSchema,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid } from '../../domain/errors.js';
import { withClients } from '../client.js';
import { integer, named, type RemoteOptions, remote, withJson } from '../options.js';
import { jobSheet } from '../text/job-view.js';
import { printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { type ManyOptions, manyJobs, printOutcomes, selectionOf } from './many-jobs.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

type SteerOptions = RemoteOptions & { readonly json?: boolean };

type CancelOptions = SteerOptions &
  ManyOptions & {
    readonly cascade?: boolean;
    readonly interest?: string;
    readonly allMine?: boolean;
    readonly forEveryone?: boolean;
  };

type UpdateOptions = SteerOptions &
  ManyOptions & {
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
    .description('withdraw your interest in jobs that have not finished; with the last interest a job is cancelled')
    .argument('[uuid...]', uuidHelp)
    .option(
      '--cascade',
      'where that cancels it, withdraw also what it wanted of its components, and they of theirs, and so on',
    )
    .option('--interest <id>', 'the interest to withdraw: the submit id of its request, or the id that get prints')
    .option('--all-mine', 'withdraw all your interests')
    .option(
      '--for-everyone',
      'cancel it whoever else wants it: for administrators, and for the owner while nobody else does',
    );
  return remote(withJson(manyJobs(command, 'the unfinished jobs that match'))).action(
    (given: readonly string[], options: CancelOptions) =>
      withClients(options, async (clients) => {
        const { cascade = false, dryRun = false, interest = '', allMine = false, forEveryone = false } = options;
        const selection = await selectionOf(clients, given, options);
        if (selection) {
          if (interest !== '') throw invalid('interest', 'BAD_OPTIONS', '--interest is for one job');
          const answer = await clients.jobs.cancelJobs({ selection, cascade, allMine, forEveryone }, clients.unary);
          if (options.json) return printMessage(CancelJobsResponseSchema, answer);
          await printOutcomes(answer, 'cancelled', dryRun);
          const named = new Set(answer.outcomes.map(({ uuid }) => uuid));
          for (const uuid of answer.cancelledUuids)
            if (!named.has(uuid)) await printLine(`cancelled ${printable(uuid)}`);
          for (const uuid of answer.withdrawnUuids)
            await printLine(`${printable(uuid)}: withdrawn; others still want it`);
          return;
        }
        const uuid = await wholeUuid(clients, given[0] as string);
        const asked = { uuid, cascade, interest, allMine, forEveryone };
        const answer = await clients.jobs.cancelJob(asked, clients.unary);
        if (options.json) return printMessage(CancelJobResponseSchema, answer);
        for (const cancelled of answer.cancelledUuids) await printLine(`cancelled ${printable(cancelled)}`);
        if (answer.cancelledUuids.length === 0) await printLine(withdrawnText(uuid, answer));
      }),
  );
}

/** What became of a job that was not cancelled by a call. */
function withdrawnText(uuid: string, { withdrawnInterests, remaining }: CancelJobResponse): string {
  const still = `${remaining} ${remaining === 1 ? 'other still wants' : 'others still want'} it`;
  if (withdrawnInterests.length > 0) return `${printable(uuid)}: withdrawn; ${still}`;
  return remaining > 0 ? `${printable(uuid)}: withdrawn before; ${still}` : `${printable(uuid)} was cancelled before`;
}

/** `memoir update`. */
export function updateCommand(): Command {
  const command = new Command('update')
    .description('change what may change of jobs')
    .argument('[uuid...]', uuidHelp)
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
  const which = 'the jobs that match, of them the unfinished where --priority is given';
  return remote(withJson(manyJobs(command, which))).action((given: readonly string[], options: UpdateOptions) =>
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
      const values = {
        priority: priority ?? 0,
        description: description ?? '',
        components: { ...component },
        labels: { ...label },
      };
      const updateMask = { paths };
      const selection = await selectionOf(clients, given, options);
      if (selection) {
        if (expectedRevision !== undefined) {
          throw invalid('expected_revision', 'BAD_OPTIONS', '--expected-revision is for one job');
        }
        const answer = await clients.jobs.updateJobs({ selection, job: values, updateMask }, clients.unary);
        if (options.json) return printMessage(UpdateJobsResponseSchema, answer);
        return printOutcomes(answer, 'updated', options.dryRun ?? false);
      }
      const uuid = await wholeUuid(clients, given[0] as string);
      const answer = await clients.jobs.updateJob(
        { job: { uuid, ...values }, updateMask, ...(expectedRevision !== undefined && { expectedRevision }) },
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
    .description('take finished jobs out of every read and out of reuse; their history stays')
    .argument('[uuid...]', uuidHelp);
  return remote(withJson(manyJobs(command, 'the finished jobs that match'))).action(
    (given: readonly string[], options: SteerOptions & ManyOptions) =>
      withClients(options, async (clients) => {
        const selection = await selectionOf(clients, given, options);
        if (selection) {
          const answer = await clients.jobs.deleteJobs({ selection }, clients.unary);
          if (options.json) return printMessage(DeleteJobsResponseSchema, answer);
          return printOutcomes(answer, 'deleted', options.dryRun ?? false);
        }
        const uuid = await wholeUuid(clients, given[0] as string);
        const answer = await clients.jobs.deleteJob({ uuid }, clients.unary);
        if (options.json) await printMessage(DeleteJobResponseSchema, answer);
        else await printLine(`deleted ${printable(uuid)}`);
      }),
  );
}
