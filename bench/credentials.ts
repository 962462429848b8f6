import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testIssuer } from '../test/auth/scene.js';
import { makeAuthority } from '../test/support/certificates.js';
import { type ChildServer, startChild } from './child-server.js';
import { type Load, runLoad } from './http2-load.js';
import { createJobPath, makeScene, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { table } from './table.js';

// What TLS, certificates and tokens cost an answer with a past job. All servers run side by side and are called in turns of one second, and before and after
// the turn of each there is one of what it is compared with; told are the median and the quartiles of what each turn gave beside the mean of those two, so that
// what else the machine does takes from both. The bare grpc-js server is called in the same way, with TLS and without.
//
//     node build/bench/credentials.js [rounds, 15 unless given] [seconds of a turn, 1 unless given] [calls to warm up, 20,000 unless given]
//         [what alone to measure, such as 'JWT,plain again'; all unless given]
//
// A round takes 14 turns.

const rounds = Number(process.argv[2] ?? 15);
const seconds = Number(process.argv[3] ?? 1);
const warm = Number(process.argv[4] ?? 20_000);
const only = process.argv[5]?.split(',');
const seeded = 2_000;
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
  readonly path: string;
};

/** What a turn measured: calls a second, and microseconds of the server's main thread for each. */
type Turn = { readonly rate: number; readonly cpu: number };

/**
 * Processor time that the main thread of a process has used, which answers calls, in microseconds. What other threads do they do later too, in the turns of
 * others.
 */
function cpuOf(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** The value below which there is such a share of the values. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

const median = (values: readonly number[]): number => quantile(values, 0.5);
const percent = (value: number): string => `${(100 * value).toFixed(0)} %`;

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
  const [plain, again, signed, encrypted, both] = [
    await scene.serve('plain', fill),
    await scene.serve('again', fill),
    await scene.serve('signed', fill, { auth }),
    await scene.serve('encrypted', fill, { tls }),
    await scene.serve('both', fill, { tls: known, auth }),
  ];
  const [echo, echoTls] = [await startChild('echo-server'), await startChild('echo-server', cert, key)];
  servers.push(plain, again, signed, encrypted, both, echo, echoTls);
  const headers = { authorization: `Bearer ${token}` };
  const of = (name: string, server: ChildServer, more: Pick<Load, 'headers' | 'tls'> = {}): Kind => ({
    name,
    server,
    path: name.startsWith('echo') ? '/bench.Echo/Echo' : createJobPath,
    ...more,
  });
  const withTls = of('TLS', encrypted, { tls: { ca } });
  const bare = of('plain', plain);
  const certified = { ca, cert: client.certificate, key: client.key };
  /** What is called, and beside what. */
  const every: readonly (readonly [kind: Kind, beside: Kind])[] = [
    [of('JWT', signed, { headers }), bare],
    [withTls, bare],
    [of('TLS, JWT', both, { tls: { ca }, headers }), bare],
    [of('TLS, certificate', both, { tls: certified }), bare],
    [of('plain again', again), bare],
    [of('echo, TLS', echoTls, { tls: { ca } }), of('echo', echo)],
    [withTls, of('echo, TLS', echoTls, { tls: { ca } })],
  ];
  const pairs = every.filter(([{ name }]) => only === undefined || only.includes(name));
  const byHash = numbered(scene.seed, scene.seed.commit);
  const turn = async (
    { server, name: _, ...how }: Kind,
    bounds: { readonly seconds?: number; readonly calls?: number } = { seconds },
  ): Promise<Turn> => {
    const body = (n: number) => byHash(n % seeded);
    const before = cpuOf(server.child.pid);
    const load = { ...how, port: server.port, body, concurrency, calls: Number.POSITIVE_INFINITY, ...bounds };
    const { rate, made } = await runLoad(load);
    return { rate, cpu: (cpuOf(server.child.pid) - before) / made };
  };
  // As warm as each other: a server that was called less is slower for that alone.
  for (const kind of new Set(pairs.flat())) await turn(kind, { calls: warm });

  const found = pairs.map(() => ({ own: [] as Turn[], beside: [] as Turn[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, [kind, beside]] of pairs.entries()) {
      const before = await turn(beside, { seconds: seconds / 2 });
      const own = await turn(kind);
      const after = await turn(beside, { seconds: seconds / 2 });
      found[i]?.own.push(own);
      found[i]?.beside.push({ rate: (before.rate + after.rate) / 2, cpu: (before.cpu + after.cpu) / 2 });
    }
  }
  const rows = pairs.map(([kind, other], i) => {
    const { own = [], beside = [] } = found[i] ?? {};
    const ratios = (what: keyof Turn) => own.map((one, n) => one[what] / (beside[n]?.[what] ?? Number.NaN));
    const rates = ratios('rate');
    return [
      kind.name,
      other.name,
      Math.round(median(own.map(({ rate }) => rate))).toLocaleString('en'),
      percent(median(rates)),
      `${percent(quantile(rates, 0.25))} to ${percent(quantile(rates, 0.75))}`,
      median(own.map(({ cpu }) => cpu)).toFixed(0),
      percent(median(ratios('cpu'))),
    ];
  });
  const heads = ['CreateJob, reused', 'beside', 'calls/s', 'of that', 'quartiles', 'µs of its main thread', 'of that'];
  process.stdout.write(`${table(heads, rows)}\n`);
} finally {
  for (const server of servers) await server.stop();
  authority.dispose();
  scene.dispose();
}
