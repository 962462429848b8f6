import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testIssuer } from '../test/auth/scene.js';
import { makeAuthority } from '../test/support/certificates.js';
import { type ChildServer, startChild } from './child-server.js';
import { type Load, runLoad } from './http2-load.js';
import { createJobPath, makeScene, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { table } from './table.js';

// What TLS, certificates and tokens cost an answer with a past job: servers of each kind are called in turns of a few hundred calls, and what is told
// is the median of what each turn took beside the turn of the plain server next to it. Beside it a bare grpc-js server, with TLS and without.
//
//     node build/bench/credentials.js [rounds, 25 unless given]

const rounds = Number(process.argv[2] ?? 25);
const seeded = 2_000;
const callsOfTurn = 640;
const concurrency = 64;

const scene = makeScene();
const authority = makeAuthority();
const file = (name: string, content: string | Buffer) => {
  const path = join(scene.directory, name);
  writeFileSync(path, content);
  return path;
};
const own = authority.certify('IP:127.0.0.1');
const [cert, key] = [file('server.pem', own.certificate), file('server-key.pem', own.key)];
const client = authority.certify('DNS:bench.example.org');
const issuer = await testIssuer('https://id.example.org');
const token = await issuer.sign({ groups: ['a', 'b', 'c'] });
const ca = authority.ca();

type Kind = Pick<Load, 'headers' | 'tls'> & {
  readonly name: string;
  readonly server: ChildServer;
  readonly of: 'echo' | 'plain';
};

/** Processor time that a process has used, in microseconds. */
function cpuOf(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const servers: ChildServer[] = [];
try {
  const fill = (store: Parameters<typeof seedJobs>[0], seed: Parameters<typeof seedJobs>[1]) =>
    seedJobs(store, seed, 0, seeded);
  const auth = {
    issuers: {
      corp: {
        issuer: 'https://id.example.org',
        jwks: file('keys.json', JSON.stringify({ keys: [issuer.jwk] })),
        audience: ['memoir'],
      },
    },
  };
  const tls = { cert, key };
  const known = { ...tls, client_ca: { hosts: { file: authority.caFile, san: 'dns' } } };
  const [plain, signed, encrypted, both] = [
    await scene.serve('plain', fill),
    await scene.serve('signed', fill, { auth }),
    await scene.serve('encrypted', fill, { tls }),
    await scene.serve('both', fill, { tls: known, auth }),
  ];
  const [echo, echoTls] = [await startChild('echo-server'), await startChild('echo-server', cert, key)];
  servers.push(plain, signed, encrypted, both, echo, echoTls);
  const headers = { authorization: `Bearer ${token}` };
  const kinds: readonly Kind[] = [
    { name: 'echo', server: echo, of: 'echo' },
    { name: 'echo, TLS', server: echoTls, tls: { ca }, of: 'echo' },
    { name: 'plain', server: plain, of: 'plain' },
    { name: 'JWT', server: signed, headers, of: 'plain' },
    { name: 'TLS', server: encrypted, tls: { ca }, of: 'plain' },
    { name: 'TLS, JWT', server: both, tls: { ca }, headers, of: 'plain' },
    { name: 'TLS, certificate', server: both, tls: { ca, cert: client.certificate, key: client.key }, of: 'plain' },
  ];
  const byHash = numbered(scene.seed, scene.seed.commit);
  const turn = async ({ server, name, of: _, ...how }: Kind) => {
    const path = name.startsWith('echo') ? '/bench.Echo/Echo' : createJobPath;
    const body = (n: number) => byHash(n % seeded);
    const before = cpuOf(server.child.pid);
    const { rate } = await runLoad({ ...how, port: server.port, path, body, concurrency, calls: callsOfTurn });
    return { rate, cpu: (cpuOf(server.child.pid) - before) / callsOfTurn };
  };
  const found = new Map(kinds.map(({ name }) => [name, [] as { rate: number; cpu: number }[]]));
  for (let round = -3; round < rounds; round++) {
    // Forwards and backwards, so that none is always behind the same one.
    for (const kind of round % 2 === 0 ? kinds : [...kinds].reverse()) {
      const measured = await turn(kind);
      if (round >= 0) found.get(kind.name)?.push(measured);
    }
  }
  const rows = kinds.map(({ name, of }) => {
    const [mine, base] = [found.get(name) ?? [], found.get(of) ?? []];
    const beside = (what: 'rate' | 'cpu') => median(mine.map((one, i) => one[what] / (base[i]?.[what] ?? Number.NaN)));
    return [
      name,
      Math.round(median(mine.map(({ rate }) => rate))).toLocaleString('en'),
      name === of ? '' : `${(100 * beside('rate')).toFixed(0)} %`,
      median(mine.map(({ cpu }) => cpu)).toFixed(0),
      name === of ? '' : `${(100 * beside('cpu')).toFixed(0)} %`,
    ];
  });
  process.stdout.write(
    `${table(['CreateJob, reused', 'calls/s', 'of the plain one', 'processor µs a call', 'of the plain one'], rows)}\n`,
  );
} finally {
  for (const server of servers) await server.stop();
  authority.dispose();
  scene.dispose();
}
