import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startMemoir } from '../../demo/program.js';
import { exitCode, exitCodes } from '../../src/cli/exit-code.js';
import { meant } from '../../src/cli/log/log-store.js';
import { systemEdge } from '../../src/edge.js';
import { openKurrentLog, openKurrentStore } from '../../src/eventstore/kurrentdb/store.js';
import { parseKurrentUrl } from '../../src/eventstore/kurrentdb/url.js';
import { openLogToExport } from '../../src/eventstore/open-store.js';
import { StoreUnavailable, StoreUnreachable } from '../../src/eventstore/port.js';
import { collect, newEvent } from '../contract/events.js';
import { makeAuthority } from '../support/certificates.js';
import { type DoubleOptions, startDouble } from '../support/kurrentdb-double/double.js';
import { same } from '../support/same.js';
import { until } from '../support/until.js';
import '../support/native-client.js';

// Who cannot use the store is told why, and soon.

const authority = makeAuthority();
const strangers = makeAuthority();
const good = authority.certify('IP:127.0.0.1');
const old = authority.certify('IP:127.0.0.1', 'past');
const misnamed = authority.certify('DNS:elsewhere.example');
const directory = mkdtempSync(join(tmpdir(), 'memoir-refusals-'));
const user = { name: 'memoir', password: 'right-secret' };
const reader = { name: 'looker', password: 'other-secret' };
test.after.always(() => {
  for (const { dispose } of [authority, strangers]) dispose();
  rmSync(directory, { recursive: true });
});

/** Time for a busy machine; a silent node alone is waited for so long. */
const timings = { longestLook: 4_000 };

const warnings: string[] = [];
process.on('warning', ({ message }) => warnings.push(message));

const withCa = (url: string, file = authority.caFile) => `${url}&tlsCAFile=${encodeURIComponent(file)}`;
const port = (server: Server) => (server.address() as AddressInfo).port;

async function double(t: ExecutionContext, options: DoubleOptions = {}) {
  const started = await startDouble(options);
  t.teardown(() => started.stop());
  return started;
}

function listening(t: ExecutionContext, server: Server): Promise<string> {
  t.teardown(() => void server.close());
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${port(server)}`)));
}

/** What is said of a store that cannot be opened, which must come long before the patience of 20 s is over. */
async function refusal(t: ExecutionContext, url: string) {
  const begun = performance.now();
  const open = async () => openKurrentStore(parseKurrentUrl(url), { edge: systemEdge, timings });
  const error = await t.throwsAsync(open(), { instanceOf: StoreUnavailable });
  t.true(performance.now() - begun < 5_000);
  t.notRegex(`${error.message} ${error.stack} ${String(error.cause)}`, /-secret/);
  return {
    why: error.message.replace(/^KurrentDB at \S+ cannot be used: /, ''),
    away: error instanceof StoreUnreachable,
  };
}

test.serial('a wrong password is told, at one node and at several', async (t) => {
  for (const nodes of [1, 3]) {
    const { url } = await double(t, { nodes, tls: good, user });
    const { why, away } = await refusal(t, withCa(url.replace('right', 'wrong')));
    t.is(why, 'it refuses the credentials: the user or the password is wrong');
    t.false(away);
  }
});

test.serial('no credentials are told, and who may read but not append; the latter reads all the same', async (t) => {
  const { url } = await double(t, { tls: good, user, reader });
  const none = await refusal(t, withCa(url.replace(/memoir:right-secret@/, '')));
  t.regex(none.why, /it refuses the credentials, or rather that there are none/);
  const looking = withCa(url.replace('memoir:right-secret', 'looker:other-secret'));
  const { why, away } = await refusal(t, looking);
  t.is(why, "the user looker may not append to Memoir's streams");
  t.false(away);
  const log = openKurrentLog(parseKurrentUrl(looking), { edge: systemEdge, timings });
  same(t, await collect(log.readAll()), []);
  await log.close();
});

test.serial(
  'who may append but not read the whole log is told so, by a store and by a log that is only read',
  async (t) => {
    const plain = { name: 'plain', password: 'other-secret' };
    const { url } = await double(t, { tls: good, user, plain });
    const asPlain = withCa(url.replace('memoir:right-secret', 'plain:other-secret'));
    const { why, away } = await refusal(t, asPlain);
    t.is(why, 'the user plain may not read $all, as the members of $admins may');
    t.false(away);
    const log = openKurrentLog(parseKurrentUrl(asPlain), { edge: systemEdge, timings });
    await t.throwsAsync(log.end(), { instanceOf: StoreUnavailable, message: /may not read \$all/ });
    await log.close();
  },
);

test.serial(
  'what an $acl forbids is refused at once and by name, and the appends beside it are recorded',
  async (t) => {
    const plain = { name: 'plain', password: 'other-secret', readsAll: true };
    const { url, log } = await double(t, { tls: good, user, plain });
    const data = Buffer.from('{"$acl":{"$w":["$admins"],"$r":["$admins"]}}');
    const acl = { id: crypto.randomUUID(), type: '$metadata', contentType: 'application/json', data };
    log.append('$$job-shut', 'any', [{ ...acl, metadata: Buffer.from('') }]);
    const asPlain = withCa(url.replace('memoir:right-secret', 'plain:other-secret'));
    const store = await openKurrentStore(parseKurrentUrl(asPlain), { edge: systemEdge, timings });
    const begun = performance.now();
    const streams = ['job-a', 'job-shut', 'job-b', 'job-c'];
    const outcomes = await Promise.allSettled(streams.map((stream, i) => store.append(stream, 'any', [newEvent(i)])));
    t.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    );
    const refused = {
      instanceOf: StoreUnavailable,
      message: /stream "job-shut": it refuses .* the user may not do this$/,
    };
    await t.throwsAsync(store.append('job-shut', 'any', [newEvent(9)]), refused);
    await t.throwsAsync(collect(store.readStream('job-shut')), refused);
    t.true(performance.now() - begun < 5_000, 'nothing is tried again');
    t.is((await collect(store.readAll())).length, 3);
    await store.close();
  },
);

test.serial('a log that is only read tells at its first read what a store tells when it is opened', async (t) => {
  const { url } = await double(t, { tls: good, user });
  const log = openKurrentLog(parseKurrentUrl(withCa(url.replace('right', 'wrong'))), { edge: systemEdge, timings });
  await t.throwsAsync(log.end(), { instanceOf: StoreUnavailable, message: /the user or the password is wrong/ });
  await log.close();
});

test.serial('what is wrong with a certificate is told', async (t) => {
  const { url } = await double(t, { tls: good, user });
  for (const [certified, why] of [
    [withCa(url, strangers.caFile), /its certificate is not of the authority in tlsCAFile/],
    [url, /its certificate is not of an authority that is known: name its file with tlsCAFile/],
    [withCa((await double(t, { tls: old, user })).url), /has expired/],
    [
      withCa((await double(t, { tls: misnamed, user })).url),
      /its certificate is for other names: DNS:elsewhere.example/,
    ],
  ] as const) {
    const told = await refusal(t, certified);
    t.regex(told.why, why);
    t.false(told.away);
  }
});

test.serial('a file that holds no certificate, or no key, is refused by name before anything is connected', (t) => {
  const file = (name: string, content: string) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  const [empty, text] = [file('empty.pem', ''), file('text.pem', 'hello')];
  const broken = file('broken.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  for (const path of [empty, text, broken, directory]) {
    const message = /has tlsCAFile=".*", which (holds no certificate in PEM|cannot be read: EISDIR)/;
    t.throws(() => parseKurrentUrl(`kurrentdb://a?tlsCAFile=${encodeURIComponent(path)}`), { message });
  }
  const ca = encodeURIComponent(authority.caFile);
  const withKey = `kurrentdb://a?userCertFile=${ca}&userKeyFile=${encodeURIComponent(text)}`;
  t.throws(() => parseKurrentUrl(withKey), { message: /has userKeyFile=".*", which holds no private key in PEM/ });
});

test.serial('TLS against a server without it, and the reverse, are told', async (t) => {
  const open = (await double(t)).url.replace('tls=false', 'tls=true');
  const told = await refusal(t, open);
  t.regex(told.why, /it does not speak TLS .*does it want tls=false\?|if it always does, is it without TLS/);
  const { url } = await double(t, { tls: good, user });
  const reverse = await refusal(t, url.replace('tls=true', 'tls=false'));
  t.regex(reverse.why, /it wants TLS: leave tls=false out|if it always does, does it want TLS/);
});

test.serial('a server of another protocol is told', async (t) => {
  const plain = await listening(
    t,
    createHttp((_, response) => response.end('hello')),
  );
  t.regex((await refusal(t, `kurrentdb://${plain}?tls=false`)).why, /it speaks HTTP\/1 and not HTTP\/2/);
  const { key, certificate: cert } = good;
  const secure = await listening(
    t,
    createHttps({ key, cert, ALPNProtocols: ['http/1.1'] }, (_, r) => r.end()),
  );
  t.regex((await refusal(t, withCa(`kurrentdb://${secure}?tls=true`))).why, /HTTP\/2, as KurrentDB does/);
  const other = await listening(
    t,
    createServer((socket) => void socket.on('error', () => undefined).write('220 hello\r\n')),
  );
  t.regex((await refusal(t, `kurrentdb://${other}?tls=false`)).why, /is no KurrentDB/);
});

test.serial(
  'a store that is away is told as such: a name that no host has, a port where nothing listens',
  async (t) => {
    const name = await refusal(t, 'kurrentdb://memoir.invalid:2113?tls=false');
    t.regex(name.why, /no host has this name|cannot be looked up now/);
    t.true(name.away);
    const { why, away } = await refusal(t, 'kurrentdb://127.0.0.1:1?tls=false');
    t.is(why, 'nothing listens there (ECONNREFUSED)');
    t.true(away);
    const both = await refusal(t, 'kurrentdb://127.0.0.1:1,memoir.invalid:2113?tls=false');
    t.regex(both.why, /^127\.0\.0\.1:1: nothing listens there \(ECONNREFUSED\); memoir\.invalid:2113: /);
  },
);

test.serial('a node that does not answer is told at once, and waited for as long as the patience goes', async (t) => {
  const silent = await listening(
    t,
    createServer((socket) => void socket.on('error', () => undefined).resume()),
  );
  const troubles: string[] = [];
  const begun = performance.now();
  let first = 0;
  const opening = openKurrentStore(parseKurrentUrl(`kurrentdb://${silent}?tls=false`), {
    edge: systemEdge,
    timings: { longestLook: 500, patience: 1_500, answerTimeout: 300 },
    onTrouble: (message) => {
      first ||= performance.now() - begun;
      troubles.push(message);
    },
  });
  const error = await t.throwsAsync(opening, { instanceOf: StoreUnreachable });
  const said = `KurrentDB at ${silent} cannot be used: it takes connections and does not answer`;
  t.is(error.message, said);
  t.is(troubles[0], said);
  t.true(first < 3_000);
  t.true(troubles.length < 4, `not every attempt is told: ${troubles}`);
});

test.serial(
  'a command that reads a log ends at once, with 6 for a store that is away and with 2 for one that refuses',
  async (t) => {
    const { url } = await double(t, { tls: good, user });
    for (const [store, code] of [
      ['kurrentdb://127.0.0.1:1?tls=false', exitCodes.unavailable],
      [withCa(url.replace('right', 'wrong')), exitCodes.usage],
    ] as const) {
      const log = await openLogToExport(store, systemEdge);
      const begun = performance.now();
      const error = await t.throwsAsync(meant(() => log.end()));
      t.is(exitCode(error), code);
      t.true(performance.now() - begun < 5_000);
      await log.close();
    }
  },
);

test.serial('trouble like one that was told is counted, not told', async (t) => {
  const { url, ...nodes } = await double(t);
  const troubles: string[] = [];
  const store = await openKurrentStore(parseKurrentUrl(url), {
    edge: systemEdge,
    timings: { ...timings, patience: 400, firstPause: 5, longestPause: 10 },
    onTrouble: (message) => troubles.push(message),
  });
  nodes.refuse(true);
  nodes.dropConnections();
  await t.throwsAsync(store.end(), { instanceOf: StoreUnreachable });
  await until('the trouble', () => troubles.length > 0);
  t.true(troubles.length <= 2, String(troubles));
  const before = troubles.length;
  nodes.refuse(false);
  await until('a read', () =>
    store.end().then(
      () => true,
      () => false,
    ),
  );
  nodes.refuse(true);
  nodes.dropConnections();
  await t.throwsAsync(store.end(), { instanceOf: StoreUnreachable });
  await until('new trouble', () => troubles.length > before);
  t.regex(troubles[0] ?? '', /cannot read the end of the log: it (breaks the connection off|cannot be connected to)/);
  await store.close();
});

test.serial(
  'memoir serve ends with 6 for a store that is away and with 2 for one that it may not use; asked to, it waits',
  async (t) => {
    const { url, ...nodes } = await double(t, { tls: good, user });
    const serve = (store: string, ...more: string[]) => {
      const data = mkdtempSync(join(directory, 'data-'));
      const program = startMemoir(['serve', '--data-dir', data, '--listen', '127.0.0.1:0', '--store', store, ...more]);
      t.teardown(() => program.stop('SIGKILL'));
      return program;
    };
    nodes.refuse(true);
    const waiting = serve(withCa(url), '--wait-for-store');
    const away = serve('kurrentdb://127.0.0.1:1?tls=false');
    const refused = serve(withCa((await double(t, { tls: good, user })).url.replace('right', 'wrong')));
    t.deepEqual([await away.ended(), await refused.ended()], [6, 2]);
    t.regex(
      away.errors(),
      /STORE_UNAVAILABLE|cannot start: KurrentDB at 127.0.0.1:1 cannot be used: nothing listens there/,
    );
    t.regex(refused.errors(), /cannot start: KurrentDB at \S+ cannot .*: it refuses the credentials/);
    await until('the warning', () => waiting.errors().includes('waiting for the store: KurrentDB at'));
    nodes.refuse(false);
    await waiting.says(/^ready on (\S+)$/m);
    t.is(await waiting.stop('SIGTERM'), 0);
    for (const line of waiting.errors().trim().split('\n')) t.notThrows(() => JSON.parse(line), line);

    for (const node of nodes.nodes) node.swallow(true);
    const unanswered = serve(withCa(url), '--wait-for-store');
    await until('the warning', () => unanswered.errors().includes('does not answer'));
    const before = performance.now();
    t.is(await unanswered.stop('SIGTERM'), 0);
    t.true(performance.now() - before < 15_000, 'amid the 20 s for which an answer is waited');
  },
);

test.after('no warning of Node.js is printed by any of it', (t) => {
  t.deepEqual(warnings, []);
});
