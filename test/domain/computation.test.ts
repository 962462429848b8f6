import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { computationDigest, jcsDigest, jobUuid } from '../../src/domain/computation.js';
import { isUuid } from '../../src/domain/streams.js';

const json = (text: string) => JSON.parse(text) as JsonObject;

/** The value with the members of every object in the opposite order. */
function turned(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(turned);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).reverse();
  return Object.fromEntries(entries.map(([key, member]) => [key, turned(member)]));
}

// Digests of texts that were written by hand from RFC 8785 and given to sha256sum. They are part of what is recorded: if one
// changes, every past job becomes another computation.
const golden: [text: string, digest: string][] = [
  ['{}', '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'],
  ['{"b":1,"a":"1"}', 'd26d28d4391eb2eff74413f6476e8d0fabc1b005d73f65d40bc6343e6062ae3c'],
  [
    '{"a":-0,"b":1.0,"c":1e21,"d":1e-7,"e":0.1,"f":123456789012345680000}',
    '9b2e3eeedcbbbf13a88de4b34dfd30e2cdec27c8ddfab04561c19cdbc6be669d',
  ],
  [
    '{"\u20ac":"Euro","\\r":"CR","\ufb33":"Hebrew","1":"One","\ud83d\ude00":"Smile","\u0080":"Control","\u00f6":"o"}',
    'e4ebf3b2724cc764310971ee48546fc24720194aa72c343d1a937f6990f37b62',
  ],
  [
    '{"text":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/"}',
    'af23fc1882760ec5789ea1382f3289d44cab1b33eff4895fcfff6273e692f446',
  ],
  [
    '{"list":[null,true,false,{"z":[],"y":{}}],"":" "}',
    '8706d6669be74d08a754e7ced7fce468ecdb4b3855169313311af501df537be4',
  ],
];

test('digests never change', (t) => {
  for (const [text, digest] of golden) t.is(jcsDigest(json(text)), digest, text);
});

test('the identity of a computation and of its runs never changes', (t) => {
  const digest = computationDigest({
    repository: 'weather',
    script: 'bin/forecast.py',
    scriptParameters: json('{"station":"Zürich","days":[1,2.5,-0],"deep":{"b":null,"a":true}}'),
  });
  t.is(digest, 'abad31b0fc6cb7c18d644842b14838b24d2e356428e29a8daaa32bf601bc32d3');
  t.is(jobUuid(digest, 1), '350e894b-0a28-53ff-98c4-08260a636be8');
  t.is(jobUuid(digest, 2), '2e08d69f-1d17-5ce0-9ee8-f84918c42462');
  t.is(jobUuid(digest, 4_294_967_295), 'f7df2970-2a57-5723-a4d5-e5ebb0897fe2');
  t.true(isUuid(jobUuid(digest, 1)));
});

test('what differs in JSON differs in its digest', (t) => {
  const texts = [
    '{}',
    '{"a":1}',
    '{"a":"1"}',
    '{"a":1.5}',
    '{"a":true}',
    '{"a":"true"}',
    '{"a":null}',
    '{"a":0}',
    '{"a":""}',
    '{"a":[]}',
    '{"a":{}}',
    '{"a":[1]}',
    '{"a":[1,2]}',
    '{"a":[2,1]}',
    '{"A":1}',
    '{"a":"é"}',
    '{"a":"e\u0301"}',
    '{"a":9007199254740991}',
    '{"a":9007199254740992}',
    '{"a":" 1"}',
    '{"":1}',
    '{"__proto__":1}',
    '{"__proto__":{"a":1}}',
    '{"a\\u0000":1}',
  ];
  t.is(new Set(texts.map((text) => jcsDigest(json(text)))).size, texts.length);
});

test('what is the same JSON has the same digest', (t) => {
  const same: [string, string][] = [
    ['{"a":1,"b":2}', '{"b":2,"a":1}'],
    ['{"a":-0}', '{"a":0}'],
    ['{"a":1.0}', '{"a":1}'],
    ['{"a":1e2}', '{"a":100}'],
    ['{"a":"\\u00e9"}', '{"a":"é"}'],
    ['{ "a" : [ 1 , 2 ] }', '{"a":[1,2]}'],
    ['{"\\ud83d\\ude00":1,"\\ufb33":2,"a":{"c":1,"b":2}}', '{"a":{"b":2,"c":1},"\\ufb33":2,"😀":1}'],
    ['{"10":1,"9":2}', '{"9":2,"10":1}'],
  ];
  for (const [one, other] of same) t.is(jcsDigest(json(one)), jcsDigest(json(other)), one);
});

test('the order of names never matters', (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (value) => {
      t.is(jcsDigest(turned(value as JsonObject) as JsonObject), jcsDigest(value as JsonObject));
    }),
  );
});

test('repository, script and parameters cannot be taken for one another', (t) => {
  const digests = [
    ['a', 'b', {}],
    ['b', 'a', {}],
    ['ab', '', {}],
    ['', 'ab', {}],
    ['a","script":"b', '', {}],
    ['a', 'b', { a: 'b' }],
    ['a', 'b', { script_parameters: {} }],
  ].map(([repository, script, scriptParameters]) =>
    computationDigest({ repository, script, scriptParameters } as Parameters<typeof computationDigest>[0]),
  );
  t.is(new Set(digests).size, digests.length);
});
