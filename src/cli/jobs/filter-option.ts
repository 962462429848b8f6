import type { Filter } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import { filtersFromText } from '../../domain/filters/from-triple.js';
import { checkNumbersAndNames } from './parameters.js';

/**
 * The filters of `--filter` options.
 * @throws MemoirError INVALID_ARGUMENT naming a text that is no filter, or a number that a double cannot hold exactly, by which
 * other jobs would be found
 */
export function filtersOf(texts: readonly string[] | undefined): Filter[] {
  return (texts ?? []).flatMap((text) => {
    const filters = filtersFromText(text, '--filter');
    checkNumbersAndNames(text, '--filter', 'filters');
    return filters;
  });
}
