import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { auditDecisions } from '../../src/audit/audit-decisions.js';
import type { DecisionsReport, Finding } from '../../src/audit/audit-report.js';
import { emptyOutput } from '../../src/domain/empty-output.js';
import type { EventLog, RecordedEvent } from '../../src/eventstore/port.js';
import { checksum } from '../../src/eventstore/sqlite/checksum.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { openRepositories } from '../../src/git/repositories.js';
import type { Project } from '../support/project.js';
import { complete, fail, find, plenty, request, uuidOf } from '../support/runs.js';
import { type Clients, startTestServer, type TestServer } from '../support/server.js';

const policyText = `
[[grants]]
to = ["ada", "bob", "root"]
roles = ["admin"]
repositories = ["**"]

[[grants]]
to = ["eve"]
roles = ["submitter", "worker"]
repositories = ["project"]
`;

/** A server with a policy, by which eve knows of one of two repositories. */
export async function policedServer(project: Project): Promise<TestServer & { readonly policyFile: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-audit-policy-'));
  const policy = join(directory, 'policy.toml');
  writeFileSync(policy, policyText);
  const { path } = project.repository;
  const server = await startTestServer({
    repositories: { project: path, elsewhere: path, arvados: path },
    settings: { policy },
  });
  return {
    ...server,
    policyFile: policy,
    async dispose() {
      await server.dispose();
      rmSync(directory, { recursive: true });
    },
  };
}

const filter = (attribute: string, operator: string, stringValue: string) => ({
  attribute,
  operator,
  operand: { kind: { case: 'stringValue' as const, value: stringValue } },
});
const ofRun = [filter('repository', '=', 'project'), filter('script', '=', 'run.sh')];

/** Lets decisions of every kind be taken, many of them at the same moment as what they depend on. Gives about how many. */
export async function decideAll(server: TestServer, project: Project): Promise<number> {
  const [ada, bob, eve] = [server.as('ada'), server.as('bob'), server.as('eve')];
  let decisions = 0;
  const decided = async (clients: Clients, more: Parameters<typeof find>[1]) => {
    const answer = await find(clients, more);
    decisions++;
    return answer;
  };
  const { first, second } = project;

  // By commit, minimum and excludes; every state; another owner's; nondeterministic; deleted; without output or log.
  const old = uuidOf(await decided(ada, { scriptVersion: first, scriptParameters: { n: 1 } }));
  await decided(ada, { scriptVersion: first, scriptParameters: { n: 1 } });
  await decided(bob, { scriptVersion: 'v1', scriptParameters: { n: 1 } });
  await bob.worker.claimJob({ uuid: old, offer: plenty });
  await decided(ada, { scriptVersion: first, scriptParameters: { n: 1 } });
  await decided(ada, { scriptVersion: first, scriptParameters: { n: 1 }, maxHeartbeatAge: { seconds: 3_600n } });
  await decided(ada, { scriptVersion: first, scriptParameters: { n: 1 }, maxHeartbeatAge: {} });
  await bob.worker.completeJob({ uuid: old, output: 'sha256:one', log: 'sha256:log' });
  await decided(bob, { scriptVersion: first, scriptParameters: { n: 1 } });
  await decided(ada, { scriptParameters: { n: 1 }, minimumScriptVersion: 'v1' });
  await decided(ada, { scriptParameters: { n: 1 }, minimumScriptVersion: 'v1', excludeScriptVersions: ['main~1'] });
  await decided(ada, { scriptParameters: { n: 1 }, excludeScriptVersions: ['old'] });
  const nondeterministic = uuidOf(await request(ada, { scriptParameters: { n: 2 }, nondeterministic: true }));
  await complete(bob, nondeterministic);
  await fail(bob, uuidOf(await decided(ada, { scriptParameters: { n: 2 } })));
  await complete(bob, uuidOf(await decided(ada, { scriptParameters: { n: 2 } })), 'sha256:x', '');
  const deleted = uuidOf(await decided(ada, { scriptParameters: { n: 2 } }));
  await complete(bob, deleted);
  await decided(ada, { scriptParameters: { n: 2 } });
  await ada.jobs.deleteJob({ uuid: deleted });
  await decided(ada, { scriptParameters: { n: 2 } });
  await complete(bob, uuidOf(await decided(ada, { scriptParameters: { n: 9 } })), emptyOutput);
  await decided(ada, { scriptParameters: { n: 9 }, requireOutput: true });

  // What supersedes, while it runs and once it is complete, and what is too old.
  const earlier = uuidOf(await decided(ada, { scriptParameters: { n: 10 } }));
  await complete(bob, earlier, 'sha256:earlier');
  const superseder = uuidOf(await decided(ada, { scriptParameters: { n: 10 }, supersede: true }));
  await decided(bob, { scriptParameters: { n: 10 }, supersede: true });
  await decided(bob, { scriptParameters: { n: 10 } });
  await complete(bob, superseder, 'sha256:later');
  await decided(bob, { scriptParameters: { n: 10 } });
  await decided(bob, { scriptParameters: { n: 10 }, filters: ofRun });
  await decided(bob, { scriptParameters: { n: 10 }, maxResultAge: { seconds: 3_600n } });
  await decided(ada, { scriptParameters: { n: 10 }, maxResultAge: {} });
  await ada.jobs.deleteJob({ uuid: superseder });
  await decided(bob, { scriptParameters: { n: 10 } });

  // Outputs that differ.
  for (const output of ['sha256:a', 'sha256:b']) {
    await complete(bob, uuidOf(await request(ada, { scriptParameters: { n: 3 } })), output);
  }
  await decided(ada, { scriptParameters: { n: 3 } });

  // Images, and the SDK.
  const hash = `sha256:${'a'.repeat(64)}`;
  await ada.images.registerImage({ hash, repository: 'tools/align', tag: 'latest' });
  const runtimeConstraints = { dockerImage: 'tools/align:latest', arvadosSdkVersion: 'main' };
  await complete(bob, uuidOf(await decided(ada, { scriptParameters: { n: 4 }, runtimeConstraints })));
  await decided(ada, { scriptParameters: { n: 4 }, runtimeConstraints });
  await decided(ada, { scriptParameters: { n: 4 } });
  await decided(ada, { scriptParameters: { n: 4 }, runtimeConstraints: { dockerImage: 'tools/align' } });

  // Filters of every kind.
  const filters = [
    [...ofRun],
    [...ofRun, filter('state', '=', 'Complete')],
    [...ofRun, filter('script_version', 'in git', 'v1')],
    [...ofRun, filter('script_version', 'not in git', 'old')],
    [...ofRun, filter('docker_image_locator', 'in docker', 'tools/align')],
    [...ofRun, filter('docker_image_locator', 'not in docker', 'tools/align:latest')],
    [...ofRun, filter('output', 'like', 'sha256:%')],
  ];
  for (const those of filters) {
    await decided(ada, { scriptParameters: { n: 1 }, filters: those });
    await decided(ada, { scriptParameters: { n: 4 }, filters: those });
  }
  const anywhere = [filter('repository', 'like', '%'), filter('script', '=', 'run.sh')];
  await request(ada, { repository: 'elsewhere', scriptParameters: { n: 5 } });
  await decided(eve, { scriptParameters: { n: 5 }, filters: anywhere });
  await decided(ada, { scriptParameters: { n: 5 }, filters: anywhere });
  await request(ada, { scriptParameters: { n: 7 }, components: { part: old } });
  const composed = [...ofRun, filter('components.part', '=', old)];
  await decided(eve, { scriptParameters: { n: 7 }, filters: composed });
  await decided(ada, { scriptParameters: { n: 7 }, filters: composed });
  // Who cancelled it is told to admins.
  const stopped = uuidOf(await request(eve, { scriptParameters: { n: 8 } }));
  await ada.jobs.cancelJob({ uuid: stopped, forEveryone: true });
  for (const who of [eve, ada]) {
    await decided(who, { scriptParameters: { n: 8 }, filters: [...ofRun, filter('cancelled_by', '=', 'ada')] });
    await decided(who, { scriptParameters: { n: 8 }, filters: [...ofRun, filter('any', 'like', '%ada%')] });
  }

  // Exclusions, with cascade and lifted.
  type Target = NonNullable<Parameters<typeof ada.exclusions.excludeFromReuse>[0]['target']>;
  const exclude = async (target: Target, cascade = true) =>
    (await ada.exclusions.excludeFromReuse({ target, cascade, reason: 'wrong' })).exclusion?.id ?? '';
  const source = uuidOf(await decided(ada, { scriptParameters: { n: 6 } }));
  await complete(bob, source, 'sha256:source');
  await complete(bob, uuidOf(await decided(ada, { scriptParameters: { in: 'sha256:source' } })), 'sha256:middle');
  await complete(bob, uuidOf(await decided(ada, { scriptParameters: { in: 'sha256:middle' } })), 'sha256:end');
  const cascade = await exclude({ case: 'jobUuid', value: source });
  for (const scriptParameters of [{ n: 6 }, { in: 'sha256:source' }, { in: 'sha256:middle' }]) {
    await decided(ada, { scriptParameters });
    await decided(eve, { scriptParameters, filters: ofRun });
  }
  await ada.exclusions.reinstateForReuse({ id: cascade, reason: 'it was not' });
  await decided(ada, { scriptParameters: { in: 'sha256:middle' } });
  const range = await exclude({
    case: 'commitRange',
    value: { repository: 'project', introducedBy: first, fixedBy: second },
  });
  await decided(ada, { scriptVersion: first, scriptParameters: { n: 1 } });
  await ada.exclusions.reinstateForReuse({ id: range, reason: 'it was not' });

  // All at once: the same and other work, completions, exclusions and updates.
  const rounds = Array.from({ length: 12 }, async (_, n) => {
    const scriptParameters = { round: n % 4 };
    const asked = await Promise.all(
      Array.from({ length: 12 }, (_unused, i) =>
        decided(i % 3 === 0 ? bob : ada, { scriptParameters, ...(i % 4 === 1 && { filters: ofRun }) }),
      ),
    );
    const uuid = uuidOf(asked[n] as (typeof asked)[number]);
    const more = Promise.all([
      decided(ada, { scriptParameters }),
      decided(ada, { scriptParameters, maxHeartbeatAge: { nanos: 2_000_000 } }),
      decided(bob, { scriptParameters }),
    ]);
    const run = complete(bob, uuid, `sha256:round-${n}`).catch(() => undefined);
    const excluded = n % 3 === 0 ? exclude({ case: 'output', value: `sha256:round-${n - 1}` }) : undefined;
    await Promise.all([more, run, excluded, decided(ada, { scriptParameters }), decided(bob, { scriptParameters })]);
    await decided(ada, { scriptParameters: { took: `sha256:round-${n}` } });
  });
  await Promise.all(rounds);
  return decisions;
}

/** Audits the decisions of a log, or of that at a path, with the repositories of a server. */
export async function audited(
  of: string | EventLog,
  repositories: Readonly<Record<string, string>>,
): Promise<{ readonly report: DecisionsReport; readonly findings: readonly Finding[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-audit-'));
  const log = typeof of === 'string' ? openSqliteLog(of) : of;
  const places = Object.entries(repositories).map(([name, one]) => [name, { path: one }] as const);
  const opened = await openRepositories(Object.fromEntries(places));
  const findings: Finding[] = [];
  try {
    const onFinding = (finding: Finding) => void findings.push(finding);
    const report = await auditDecisions({ log, repositories: opened, directory, from: 0, onFinding });
    return { report, findings };
  } finally {
    await opened.close();
    await log.close();
    rmSync(directory, { recursive: true });
  }
}

/** The events of a log. */
export async function eventsOf(path: string): Promise<RecordedEvent[]> {
  const log = openSqliteLog(path);
  const events = [];
  for await (const recorded of log.readAll()) events.push(recorded);
  await log.close();
  return events;
}

/** A log with these events, with checksums that are right, as whoever can write the file could make it. */
export function forged(like: string, to: string, events: readonly Omit<RecordedEvent, 'position'>[]): string {
  copyFileSync(like, to);
  const db = new Database(to);
  db.exec('DELETE FROM event');
  const insert = db.prepare('INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
  db.transaction(() => {
    for (const [i, event] of events.entries()) {
      const { stream, revision, id, type, data, metadata, recordedAt } = event;
      const position = i + 1;
      const written = checksum({ ...event, position });
      insert.run(position, stream, revision, id, type, data, metadata, recordedAt, written);
    }
  })();
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.close();
  return to;
}
