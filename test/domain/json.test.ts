import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { jcsDigest } from '../../src/domain/computation.js';
import { MemoirError } from '../../src/domain/errors.js';
import { checkCanonicalisable, clientNesting, isTooDeep, parametersBelow } from '../../src/domain/json.js';

function refusal(value: unknown): MemoirError | undefined {
  try {
    checkCanonicalisable('script_parameters', value as JsonObject);
    return undefined;
  } catch (error) {
    return error as MemoirError;
  }
}

/** Arrays in an object, `depth` levels in all. */
function nested(depth: number): JsonObject {
  let value: JsonValue = 1;
  for (let level = 1; level < depth; level++) value = level % 2 ? [value] : { a: value };
  return { a: value };
}

test('what has no canonical form is refused, naming the place', (t) => {
  const cases: [value: unknown, message: string][] = [
    [{ a: Number.NaN }, 'script_parameters at "/a": NaN is not a JSON number'],
    [{ a: [1, { b: Number.POSITIVE_INFINITY }] }, 'script_parameters at "/a/1/b": Infinity is not a JSON number'],
    [{ a: -1 / 0 }, 'script_parameters at "/a": -Infinity is not a JSON number'],
    [{ 'x/y~z': ['\ud800'] }, 'script_parameters at "/x~1y~0z/0": "\ufffd" holds a lone surrogate'],
    [{ a: { '\udc00': 1 } }, 'script_parameters at "/a": the name "\ufffd" holds a lone surrogate'],
    [{ a: 'ok\udfff' }, 'script_parameters at "/a": "ok\ufffd" holds a lone surrogate'],
    [{ a: undefined }, 'script_parameters at "/a": "undefined" is not JSON'],
    [{ a: 1n }, 'script_parameters at "/a": "1" is not JSON'],
  ];
  for (const [value, message] of cases) {
    const error = refusal(value);
    t.true(error instanceof MemoirError, message);
    t.like(error, { code: 'INVALID_ARGUMENT', reason: 'NOT_CANONICAL_JSON', field: 'script_parameters', message });
  }
});

/** Messages below the Struct that the binary form of an object has at its deepest place, as a decoder counts them. */
function nestingOf(value: JsonObject): number {
  const of = (json: JsonValue): number => {
    if (json === null || typeof json !== 'object') return 0;
    const inner = Object.values(json).map(of);
    return Array.isArray(json)
      ? 1 + Math.max(0, ...inner.map((n) => n + 1))
      : 1 + Math.max(0, ...inner.map((n) => n + 2));
  };
  return of(value) - 1;
}

test('parameters are nested no deeper than every client can read, and no depth exhausts the stack', (t) => {
  const objects = (count: number, leaf: JsonValue) => {
    let value = leaf;
    for (let i = 0; i < count; i++) value = { a: value };
    return value as JsonObject;
  };
  const lists = (count: number, leaf: JsonValue) => {
    let value = leaf;
    for (let i = 0; i < count; i++) value = [value];
    return { a: value } as JsonObject;
  };
  for (const deepest of [objects(32, 1), objects(32, {}), lists(47, 1), lists(47, [])]) {
    t.is(refusal(deepest), undefined);
    t.false(isTooDeep(deepest));
  }
  for (const [deep, at] of [
    [objects(33, 1), '/a'.repeat(32)],
    [objects(33, {}), '/a'.repeat(32)],
    [lists(48, 1), `/a${'/0'.repeat(47)}`],
    [lists(48, []), `/a${'/0'.repeat(47)}`],
  ] as const) {
    t.like(refusal(deep), { code: 'INVALID_ARGUMENT', reason: 'NESTED_TOO_DEEP', field: 'script_parameters' });
    t.true(refusal(deep)?.message.startsWith(`script_parameters at "${at}": nested too deep`), refusal(deep)?.message);
    t.true(isTooDeep(deep));
  }
  t.is(refusal(nested(200_000))?.reason, 'NESTED_TOO_DEEP');
  fc.assert(
    fc.property(fc.integer({ min: 25, max: 60 }), fc.func(fc.integer({ min: 0, max: 3 })), (levels, pick) => {
      let value: JsonValue = pick(-1) > 1 ? {} : 1;
      for (let i = 0; i < levels; i++) value = pick(i) === 0 ? { a: value } : pick(i) === 1 ? [[], value] : [value];
      const deep = nestingOf({ a: value }) + parametersBelow > clientNesting;
      t.is(isTooDeep({ a: value }), deep);
      t.is(refusal({ a: value })?.reason, deep ? 'NESTED_TOO_DEEP' : undefined);
    }),
  );
});

test('-0 is written as 0, wherever it stands', (t) => {
  const value: JsonObject = { a: -0, b: [-0, { c: -0 }], ['__proto__']: -0 };
  checkCanonicalisable('script_parameters', value);
  t.is(JSON.stringify(value), '{"a":0,"b":[0,{"c":0}],"__proto__":0}');
  t.true(Object.is(value.a, 0) && Object.is((value.b as JsonValue[])[0], 0));
});

test('any other JSON is accepted, and has a digest', (t) => {
  const odd =
    '{"__proto__":{"a":1},"constructor":2,"":[[],{},null,true,"",-0,1e308,5e-324],"\\u0000":"\\ud83d\\ude00"}';
  t.is(refusal(JSON.parse(odd)), undefined);
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (value) => {
      t.is(refusal(value), undefined);
      t.regex(jcsDigest(value as JsonObject), /^[0-9a-f]{64}$/);
    }),
  );
});

test('what is accepted is what a digest can be made of', (t) => {
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { withCrossShrink: true },
      fc.constantFrom(Number.NaN, 1 / 0, '\ud800', 'a\udc00b', 'fine', 0, null),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', '\ud801'), tie('value'), { maxKeys: 3 }),
    ),
  })).value;
  const digestible = (whole: JsonObject) => {
    try {
      return jcsDigest(whole) !== '';
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(value, (inner) => {
      const whole = { inner } as JsonObject;
      t.is(refusal(whole) === undefined, digestible(whole));
    }),
  );
});
