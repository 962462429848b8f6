import test from 'ava';
import { challengesOf } from '../../../src/images/registry/challenge.js';

const read = (header: string) =>
  challengesOf(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test('challenges and their parameters are read', (t) => {
  t.deepEqual(read('Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"'), [
    ['bearer', { realm: 'https://a/t', service: 's', scope: 'repository:a/b:pull,push' }],
  ]);
  t.deepEqual(read('Basic realm="x, y = \\"z\\"", charset=UTF-8, BEARER Realm=r'), [
    ['basic', { realm: 'x, y = "z"', charset: 'UTF-8' }],
    ['bearer', { realm: 'r' }],
  ]);
  for (const header of ['', 'Basic', 'Negotiate abc==', '=', 'realm="x"', 'Bearer realm="x', ',,,']) {
    t.deepEqual(read(header), [], header);
  }
});

test('long and hostile headers are read quickly', (t) => {
  const began = performance.now();
  for (const piece of ['a=b,', ' a ', 'a="', '\\"', 'a a=']) challengesOf(`Bearer ${piece.repeat(200_000)}`);
  t.true(performance.now() - began < 2_000);
});
