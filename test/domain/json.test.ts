import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { jcsDigest } from '../../src/domain/computation.js';
import { MemoirError } from '../../src/domain/errors.js';
import { checkCanonicalisable, maxDepth } from '../../src/domain/json.js';

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

test('depth is limited, and no depth exhausts the stack', (t) => {
  t.is(refusal(nested(maxDepth)), undefined);
  t.is(refusal(nested(maxDepth + 1))?.message, `script_parameters: it is nested more than ${maxDepth} levels deep`);
  t.is(refusal(nested(200_000))?.reason, 'NOT_CANONICAL_JSON');
  t.regex(jcsDigest(nested(maxDepth)), /^[0-9a-f]{64}$/);
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
