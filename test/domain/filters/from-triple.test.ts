import test from 'ava';
import { filtersFromText } from '../../../src/domain/filters/from-triple.js';

test('a text that is no triple is named as it was given', (t) => {
  for (const text of ['1e400', '99999999999999999999', 'null', '{"a": 1}', 'script=x'])
    t.throws(() => filtersFromText(text, '--filter'), {
      message: new RegExp(`^--filter ${JSON.stringify(text).replace(/[\\{}]/g, '\\$&')} is not a JSON list`),
    });
  t.is(filtersFromText('[["script","=","a"],["priority",">",1]]').length, 2);
  t.is(filtersFromText('["script","=","a"]').length, 1);
});
