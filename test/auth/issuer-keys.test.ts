import type { RequestListener } from 'node:http';
import test from 'ava';
import { decodeProtectedHeader, type FlattenedJWSInput } from 'jose';
import { pino } from 'pino';
import { openIssuerKeys } from '../../src/auth/issuer-keys.js';
import { authConfig } from '../../src/config/auth.js';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import { until } from '../support/until.js';
import { keysEndpoint, testIssuer } from './scene.js';

// What an endpoint of keys may take of a server, where it takes its time.

const url = 'https://id.example.org';

test('an answer that never ends, byte by byte or before its first one, is given up in time, and its connection with it', async (t) => {
  const issuer = await testIssuer(url);
  const header = decodeProtectedHeader(await issuer.sign()) as { alg: string; kid: string };
  const endpoint = await keysEndpoint();
  t.teardown(() => endpoint.close());
  const auth = authConfig.parse({ issuers: { corp: { issuer: url, jwks: endpoint.url, audience: ['memoir'] } } });
  const warnings: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) });
  const longest = 1_000;
  // What fetches is loaded by then.
  endpoint.answer = (_, response) => void response.end('{}');
  await fetch(endpoint.url);

  for (const begin of [false, true]) {
    let bytes = 0;
    let gone = 0;
    const trickle: RequestListener = (_, response) => {
      if (begin) response.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => {
        bytes += 1;
        if (begin) response.write(' ');
      }, 5);
      response.once('close', () => {
        clearInterval(timer);
        gone += 1;
      });
    };
    endpoint.answer = trickle;
    endpoint.asked = 0;
    const since = performance.now();
    const keys = openIssuerKeys('corp', auth.issuers.corp as never, systemEdge, logger, { longest, mostBytes: 4_096 });
    t.teardown(() => keys.close());
    const waiting = Array.from({ length: 20 }, () => keys.keyOf(header, {} as FlattenedJWSInput));
    for (const told of await Promise.allSettled(waiting)) {
      const { reason } = told as PromiseRejectedResult;
      t.true(reason instanceof MemoirError && reason.reason === 'ISSUER_UNAVAILABLE', String(reason));
    }
    t.true(performance.now() - since >= longest * 0.9);
    // On a machine that is very busy the request may not have come to the endpoint in that time.
    t.true(endpoint.asked <= 1, 'all wait for one request');
    await until('the connection is given up', () => gone === endpoint.asked);
    if (endpoint.asked > 0) t.true(bytes > 3 && bytes < 4_096, `${bytes} turns`);

    endpoint.answer = (_, response) => void response.end(JSON.stringify({ keys: [issuer.jwk] }));
    const key = await until('the keys are had', () =>
      Promise.resolve(keys.keyOf(header, {} as FlattenedJWSInput)).catch(() => undefined),
    );
    t.truthy(key);
  }
  t.is(warnings.filter((line) => line.includes('the keys of an issuer cannot be had')).length, 2);
});
