import test from 'ava';
import { kindOf } from '../../../src/rpc/limits/kinds-of-call.js';
import { memoirServices } from '../../support/services.js';

test('whatever is answered by pages counts as a list, and other calls that go through much', (t) => {
  const methods = memoirServices.flatMap((service) => service.methods);
  const paged = methods.filter(({ input }) => input.fields.some(({ name }) => name === 'page_size'));
  t.true(paged.length >= 6);
  const much = methods.filter(({ name }) => ['GetLineage', 'GetChecks', 'CompareJobs'].includes(name));
  t.is(much.length, 3);
  for (const method of [...paged, ...much]) t.is(kindOf(method), 'list', method.name);
});
