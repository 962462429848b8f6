import { create } from '@bufbuild/protobuf';
import { FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import type { AsOf } from '../../../gen/memoir/jobs/v1/as_of_pb.js';
import { FilterSchema } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import type { Clients } from '../client.js';

/** Fewest digits that a uuid may be shortened to. */
const fewestDigits = 4;

/** Most jobs that an error names. */
const mostNamed = 10;

const whole = 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx';

/** What a command's help says of an argument that `wholeUuid` reads. */
export const uuidHelp = 'uuid of the job, or at least 4 digits that it begins with';

/**
 * The uuid of the one job that the caller may read and that begins so. What is no beginning of a uuid, or a whole one, is given as it
 * is, for the server to judge.
 * @throws MemoirError NOT_FOUND if there is no such job, INVALID_ARGUMENT naming the jobs if there are several; CallError
 */
export async function wholeUuid({ jobs, unary }: Pick<Clients, 'jobs' | 'unary'>, text: string, asOf?: AsOf) {
  const prefix = text.toLowerCase();
  if (!isShortened(prefix)) return text;
  const { jobs: found } = await jobs.listJobs(
    {
      filters: [
        create(FilterSchema, {
          attribute: 'uuid',
          operator: 'like',
          operand: { kind: { case: 'stringValue', value: `${prefix}%` } },
        }),
      ],
      select: create(FieldMaskSchema, { paths: ['uuid', 'script', 'repository'] }),
      pageSize: mostNamed + 1,
      ...(asOf && { asOf }),
    },
    unary,
  );
  const [one, ...others] = found;
  if (!one) {
    const message = `no job that you may read begins with ${quote(text)} (a deleted one is found by its whole uuid only)`;
    throw new MemoirError('NOT_FOUND', 'JOB_NOT_FOUND', message, { field: 'uuid' });
  }
  if (others.length === 0) return one.uuid;
  const named = found
    .slice(0, mostNamed)
    .map(({ uuid, script, repository }) => `\n  ${uuid}  ${script} of ${repository}`);
  const more = found.length > mostNamed ? '\n  and more' : '';
  throw invalid('uuid', 'AMBIGUOUS_UUID', `several jobs begin with ${quote(text)}:${named.join('')}${more}`);
}

/** Whether a text is the beginning of a uuid, and not all of it. */
function isShortened(text: string): boolean {
  if (text.length < fewestDigits || text.length >= whole.length) return false;
  return [...text].every((c, i) => (whole[i] === '-' ? c === '-' : /[0-9a-f]/.test(c)));
}
