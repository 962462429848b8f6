import type { JobFilter } from '../../src/domain/filters/filter.js';
import type { ListQuery } from './list-query.js';

/** Fields by whose values jobs are found without looking at others. */
const indexed = [
  'uuid',
  'repository',
  'owner',
  'script_version',
  'docker_image_locator',
  'arvados_sdk_version',
  'output',
];

/** What a client can do so that a question for the different values of a field takes less time. */
export const narrowingOfValues = 'too many different commits were run; use a filter without git';

/** What a client can do so that a question for candidates takes less time. */
export const narrowingOfCandidates = 'ask for fewer candidates by narrower filters, or by further parameters';

/** What a client can do so that a list takes less time. */
export function narrowingOf({ filters, requestedBy, order, countTotal }: ListQuery): string {
  const advice: string[] = [];
  const slow = filters.find(({ target }) => target.of !== 'field');
  const quick = requestedBy !== undefined || filters.some(isQuick);
  if (!quick) {
    const beside = slow ? `beside filters[${slow.index}], which looks into every job, ` : '';
    advice.push(`add ${beside}a filter = on ${indexed.slice(1).join(', ')}, or a range of created_at`);
  } else {
    advice.push('add a narrow range of created_at');
  }
  if (order.some(({ field }) => field !== 'created_at')) advice.push('order by created_at alone');
  if (countTotal) advice.push('do without count_total');
  return advice.join(', or ');
}

function isQuick({ target, test }: JobFilter): boolean {
  if (target.of !== 'field') return false;
  if (target.field === 'created_at') return test.is === '>' || test.is === '>=';
  return indexed.includes(target.field) && test.is === 'one of' && !test.negate;
}
