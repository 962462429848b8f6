import test from 'ava';
import { systemEdge } from '../../src/edge.js';
import { parseKurrentUrl, withoutCredentials } from '../../src/eventstore/kurrentdb/url.js';
import { openStore, storeName } from '../../src/eventstore/open-store.js';

for (const [text, connectionString, address] of [
  ['kurrentdb://node', 'kurrentdb://node:2113', 'node:2113'],
  ['kurrentdb://node:1/', 'kurrentdb://node:1', 'node:1'],
  ['esdb://a.example:1,b.example:2', 'kurrentdb://a.example:1,b.example:2', 'a.example:1,b.example:2'],
  ['esdb+discover://cluster.example', 'kurrentdb+discover://cluster.example:2113', 'cluster.example:2113'],
  [
    'kurrentdb+discover://u%3A:p%40%2F@h?TLS=true&nodepreference=leader',
    'kurrentdb+discover://u%3A:p%40%2F@h:2113?tls=true&nodePreference=leader',
    'h:2113',
  ],
  ['kurrentdb://u:p!@h?connectionName=my%20server', 'kurrentdb://u:p!@h:2113?connectionName=my%20server', 'h:2113'],
] as const) {
  test(`${text} is understood`, (t) => {
    const usual = `${connectionString.includes('?') ? '&' : '?'}discoveryInterval=100`;
    t.like(parseKurrentUrl(text), { connectionString: connectionString + usual, address });
  });
}

for (const [text, message] of [
  ['kurrentdb://', /"" where a host name/],
  ['kurrentdb://a,,b', /"" where a host name/],
  ['kurrentdb://[::1]:2113', /"\[::1\]:2113" where a host name/],
  ['kurrentdb://a:0', /"a:0" where/],
  ['kurrentdb://a:99999', /"a:99999" where/],
  ['kurrentdb://a?tls=maybe', /tls="maybe", which is neither true nor false/],
  ['kurrentdb://a?tls', /tls without a value/],
  ['kurrentdb://a?tls=true&TLS=false', /has tls twice/],
  ['kurrentdb://a?colour=red', /unknown parameter "colour"; known are tls, /],
  ['kurrentdb://a?throwOnAppendFailure=false', /unknown parameter "throwOnAppendFailure"/],
  ['kurrentdb://a?gossipTimeout=5', /unknown parameter "gossipTimeout"/],
  ['kurrentdb://a?defaultDeadline=soon', /defaultDeadline="soon", which is not a whole number/],
  ['kurrentdb://a?maxDiscoverAttempts=0', /maxDiscoverAttempts=0; it must be 1 or more/],
  ['kurrentdb://a?defaultDeadline=-1', /defaultDeadline=-1; it must be 1 or more/],
  ['kurrentdb://a?keepAliveInterval=500', /keepAliveInterval=500; it must be 10000 or more, or -1 for never/],
  ['kurrentdb://a?connectionName=a%0Ab', /connectionName="a\\nb"; it must be of printable ASCII characters/],
  ['kurrentdb://a?connectionName=%C3%BC', /it must be of printable ASCII characters/],
  ['kurrentdb://a?nodePreference=best', /nodePreference="best"; it must be one of leader, /],
  ['kurrentdb://a?tlsCAFile=/no/such/ca.pem', /tlsCAFile="\/no\/such\/ca.pem", and there is no such file/],
  ['kurrentdb://a?userCertFile=/dev/null', /needs userCertFile and userKeyFile together/],
  ['kurrentdb://a/b', /is not scheme:/],
] as const) {
  test(`${text} is refused`, (t) => {
    t.throws(() => parseKurrentUrl(text), { message });
  });
}

test('credentials may be escaped', (t) => {
  const { credentials } = parseKurrentUrl('kurrentdb://u%3A:p%40%2F@h');
  t.deepEqual(credentials, { username: 'u:', password: 'p@/' });
});

test('the interval of discovery can be set', (t) => {
  const { connectionString } = parseKurrentUrl('kurrentdb://a?discoveryInterval=250');
  t.is(connectionString, 'kurrentdb://a:2113?discoveryInterval=250');
});

test('no error has the credentials in it', (t) => {
  for (const text of [
    'kurrentdb://admin:hunter2@',
    'kurrentdb://admin:hunter2@a?colour=hunter',
    'kurrentdb://admin:hunter2:x@a',
    'kurrentdb://admin@hunter2@a',
    'kurrentdb://admin:hunter2%@a',
    'kurentdb://admin:hunter2@a',
    'kurrentdb://admin:hunter2@a@b',
  ]) {
    const error = t.throws(() => storeName(text));
    t.notRegex(`${error?.message} ${error?.stack} ${JSON.stringify(error)}`, /hunter2/);
  }
  t.is(withoutCredentials('kurrentdb://admin:hunter2@a:1'), 'kurrentdb://***@a:1');
  t.is(withoutCredentials('sqlite:/a@b'), 'sqlite:/a@b');
});

test('a store of an unknown kind is refused by name', async (t) => {
  for (const url of ['', 'events.sqlite', 'sqlite:', 'postgres://u:p@h/db', 'KURRENTDB://h']) {
    const error = await t.throwsAsync(async () => openStore(url, systemEdge));
    t.regex(error?.message ?? '', /^store ".*" is not "sqlite:" and a path, nor a connection string of KurrentDB/);
  }
});
