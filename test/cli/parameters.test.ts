import test from 'ava';
import fc from 'fast-check';
import { filtersOf } from '../../src/cli/jobs/filter-option.js';
import { parseParameter, parseParameters, sameNumber } from '../../src/cli/jobs/parameters.js';
import { MemoirError } from '../../src/domain/errors.js';

test('any JSON object is read as JSON.parse reads it', (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.boolean(), (value, indent) => {
      const text = JSON.stringify(value, null, indent ? 2 : 0);
      t.deepEqual(parseParameters(text, 'test') as unknown, JSON.parse(text));
    }),
  );
});

for (const [text, what] of [
  ['[1]', /JSON object, not "\[1\]"/],
  ['null', /JSON object/],
  ['"x"', /JSON object/],
  ['', /not JSON/],
  ['{"a":1', /not JSON/],
  ["{'a':1}", /not JSON/],
  ['{"a":NaN}', /not JSON/],
  ['{"a":1,"a":1}', /"\/a" is given twice/],
  ['{"a":1,"\\u0061":2}', /"\/a" is given twice/],
  ['{"x":[{"b":{}},{"b":1,"c":[],"b":2}]}', /"\/x\/1\/b" is given twice/],
  ['{"n":9007199254740993}', /number "9007199254740993" at "\/n"/],
  ['{"d":{"e":[0,{"f":[1, 12345678901234567890]}]}}', /"12345678901234567890" at "\/d\/e\/1\/f\/1"/],
  ['{"n":0.1000000000000000055}', /cannot be held exactly \(it would become 0.1\)/],
  ['{"n":1e400}', /would become Infinity/],
  ['{"n":-1e-400}', /would become 0|would become -0/],
  ['{"s":"\\ud800"}', /lone surrogate/],
  [`${'{"a":'.repeat(200)}1${'}'.repeat(200)}`, /nested too deep/],
] as const) {
  test(`refused: ${text.slice(0, 60)}`, (t) => {
    const error = t.throws(() => parseParameters(text, 'the file'), { instanceOf: MemoirError });
    t.is(error?.code, 'INVALID_ARGUMENT');
    t.is(error?.field, 'script_parameters');
    t.regex(error?.message ?? '', what);
  });
}

for (const text of [
  '{"a":{"x":1},"b":{"x":1}}',
  '{"a":[{"x":1},{"x":2}],"x":"\\"a\\":1,\\"a\\":2"}',
  '{"n":[1.0,1e2,0.1,-0,0.0,1E+2,9007199254740992,1e21,123456789012345680000,5e-324]}',
  '{"a":"9007199254740993"}',
  '{"":{"":1}}',
  '{"__proto__":1,"constructor":2}',
]) {
  test(`accepted: ${text.slice(0, 60)}`, (t) => {
    t.is(JSON.stringify(parseParameters(text, 'test')), JSON.stringify(JSON.parse(text)));
  });
}

test('a number is the same as its own spelling, and as others of the same value', (t) => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      t.true(sameNumber(String(number), JSON.stringify(number)));
      t.true(sameNumber(String(number), number.toExponential()));
    }),
  );
  fc.assert(
    // Below 10^21 numbers are written without an exponent.
    fc.property(fc.bigInt({ min: 2n ** 50n, max: 2n ** 69n }), (n) => {
      t.is(sameNumber(String(n), String(Number(n))), String(Number(n)) === String(n));
    }),
  );
});

for (const [text, name, value] of [
  ['n=1', 'n', 1],
  ['n=1.50', 'n', 1.5],
  ['s=text', 's', 'text'],
  ['s="1"', 's', '1'],
  ['s=', 's', ''],
  ['s=a=b', 's', 'a=b'],
  ['b=true', 'b', true],
  ['z=null', 'z', null],
  ['l=[1,"x"]', 'l', [1, 'x']],
  ['l=[1,', 'l', '[1,'],
  ['v=1.2.3', 'v', '1.2.3'],
  ['v=01', 'v', '01'],
  ['p=/a/b c', 'p', '/a/b c'],
  ['__proto__={"a":1}', '__proto__', { a: 1 }],
] as const) {
  test(`-p ${text}`, (t) => {
    t.deepEqual(parseParameter(text) as unknown, [name, value]);
  });
}

test('parameters without a name, or whose number would change, are refused', (t) => {
  for (const text of ['=1', 'x', '', 'n=9007199254740993', 'n={"a":1,"a":2}']) {
    t.throws(() => parseParameter(text), { instanceOf: MemoirError }, text);
  }
});

test('a filter names no number that would be another one', (t) => {
  const error = t.throws(() => filtersOf(['["script_parameters.n","=",9007199254740993]']), {
    instanceOf: MemoirError,
  });
  t.is(error?.reason, 'INEXACT_NUMBER');
  t.regex(error?.message ?? '', /--filter: the number "9007199254740993" at "\/2"/);
  t.is(
    filtersOf(['["script_parameters.n","=",9007199254740992]', '[["script","=","x"],["priority",">",1]]']).length,
    3,
  );
  t.throws(() => filtersOf(['[1,2]']), { message: /--filter/ });
});

test('a string may be as long as a text', (t) => {
  for (const part of ['x', '\\n', '\\\\', 'é']) {
    const text = `{"a":"${part.repeat(4_000_000)}"}`;
    t.is(Object.keys(parseParameters(text, 'test')).length, 1);
  }
});
