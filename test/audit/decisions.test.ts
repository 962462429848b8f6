import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { startMemoir } from '../../demo/program.js';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { makeProject } from '../support/project.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { audited, decideAll, eventsOf, forged, policedServer } from './scene.js';

const project = makeProject();
const places = {
  project: project.repository.path,
  elsewhere: project.repository.path,
  arvados: project.repository.path,
};
const directory = mkdtempSync(join(tmpdir(), 'memoir-audit-test-'));
const server = await policedServer(project);
const decisions = await decideAll(server, project);
const live = join(server.config.data_dir, 'events.sqlite');
await server.stop();
const events = await eventsOf(live);

test.after.always(async () => {
  await server.dispose();
  project.repository.dispose();
  rmSync(directory, { recursive: true });
});

type Forged = Omit<RecordedEvent, 'position'>;
type Json = Record<string, unknown> & {
  decision?: { outcome?: string; uuid: string; candidates?: { uuid: string; ruledOutBy?: string }[] };
  basis?: Record<string, unknown> & { position: string };
};

/** The event with its data changed. */
function changed(event: RecordedEvent, change: (data: Json) => void): RecordedEvent {
  const data = JSON.parse(event.data) as Json;
  change(data);
  return { ...event, data: JSON.stringify(data) };
}

function ownerIn(event: RecordedEvent): [uuid: string, owner: unknown] {
  const { uuid, owner } = dataOf(event);
  return [String(uuid), owner];
}

const dataOf = (event: RecordedEvent) => JSON.parse(event.data) as Json;

test('every decision of a real server comes out the same, whatever happened at the same moment', async (t) => {
  const { report, findings } = await audited(live, places);
  t.deepEqual(
    findings.map(({ position, why, differences }) => [position, why, differences]),
    [],
  );
  t.like(report, { differing: 0, underivable: 0, byLogBefore: 0, from: 0 });
  t.is(report.same, decisions);
});

test('a decision that was changed is reported, with what comes out and the first candidate that differs', async (t) => {
  const reused = events.findIndex(
    (event) => event.type === 'JobReused' && dataOf(event).decision?.outcome === 'OUTCOME_REUSED_COMPLETE',
  );
  const forgedEvents = events.map((event, i) =>
    i !== reused
      ? event
      : changed(event, ({ decision }) => {
          if (decision) decision.outcome = 'OUTCOME_REUSED_RUNNING';
        }),
  );
  const path = forged(live, join(directory, 'outcome.sqlite'), forgedEvents);
  const { report, findings } = await audited(path, places);
  t.like(report, { differing: 1, same: decisions - 1 });
  t.is(findings[0]?.position, reused + 1);
  t.deepEqual(findings[0]?.differences, [{ what: 'outcome', recorded: 'REUSED_RUNNING', derived: 'REUSED_COMPLETE' }]);

  const created = events.findIndex((event) => {
    const { decision } = dataOf(event);
    return event.type === 'JobRequested' && decision?.candidates?.[0]?.ruledOutBy === 'RULE_EXCLUDED';
  });
  const other = events.map((event, i) =>
    i !== created
      ? event
      : changed(event, ({ decision }) => {
          const [first] = decision?.candidates ?? [];
          if (first) first.ruledOutBy = 'RULE_STATE';
        }),
  );
  const second = await audited(forged(live, join(directory, 'rule.sqlite'), other), places);
  t.is(second.report.differing, 1);
  const [difference] = second.findings[0]?.differences ?? [];
  t.is(difference?.what, 'candidate');
  t.regex(difference?.recorded ?? '', /ruled out by state$/);
  t.regex(difference?.derived ?? '', /ruled out by excluded$/);
});

test('a decision of which the JSON was spoilt does not escape, however much of its event was', async (t) => {
  const reused = events.findIndex(({ type }) => type === 'JobReused');
  const within = (name: 'decision' | 'basis', spoilt: object) => (data: string) => {
    const event = JSON.parse(data) as Record<string, object>;
    return JSON.stringify({ ...event, [name]: { ...event[name], ...spoilt } });
  };
  const spoils: readonly ((data: string) => string)[] = [
    (data) => data.slice(1),
    within('decision', { candidateCount: 'many' }),
    within('basis', { position: [] }),
  ];
  for (const [n, spoil] of spoils.entries()) {
    const spoilt = events.map((event, i) => (i === reused ? { ...event, data: spoil(event.data) } : event));
    t.not(spoilt[reused]?.data, events[reused]?.data);
    const path = forged(live, join(directory, `spoilt-${n}.sqlite`), spoilt);
    const { report, findings } = await audited(path, places);
    t.like(report, { differing: 1, same: decisions - 1 });
    t.like(findings[0], { position: reused + 1, kind: 'differs', uuid: events[reused]?.stream.slice('reuse-'.length) });
    t.regex(findings[0]?.why ?? '', /^its decision cannot be read: /);
  }
});

test('an output of a candidate that was changed is reported by the decisions that were taken from it', async (t) => {
  const differing = events.findIndex(({ type, data }) => type === 'JobCompleted' && data.includes('sha256:b"'));
  const same = events.map((event, i) =>
    i !== differing
      ? event
      : changed(event, (data) => {
          data.output = 'sha256:a';
        }),
  );
  const { report, findings } = await audited(forged(live, join(directory, 'output.sqlite'), same), places);
  t.true(report.differing >= 1);
  t.true(findings.every(({ kind }) => kind === 'differs'));
  t.true(findings.some(({ differences }) => differences.some(({ recorded }) => recorded.includes('outputs_differ'))));
});

test('a job that was put in before a decision is reported', async (t) => {
  // The job of a computation that a later decision found nothing for, with everything after it moved on.
  const place = events.findIndex(
    (event) =>
      event.type === 'JobRequested' &&
      dataOf(event).decision?.outcome === 'OUTCOME_CREATED_NO_MATCH' &&
      event.position > 20,
  );
  const model = events[place] as RecordedEvent;
  const uuid = '11111111-1111-5111-8111-111111111111';
  const put: Forged[] = [
    changed({ ...model, id: '22222222-2222-4222-8222-222222222222', stream: `job-${uuid}`, revision: 0 }, (data) => {
      data.uuid = uuid;
      delete data.decision;
      delete data.basis;
      data.runNumber = 77;
    }),
  ];
  const at = place - 3;
  const moved = events.map((event) =>
    changed(event, ({ basis }) => {
      if (!basis) return;
      for (const name of ['position', 'exclusionsPosition', 'lineagePosition', 'commitsPosition']) {
        const value = basis[name];
        if (typeof value === 'string' && Number(value) > at) basis[name] = String(Number(value) + put.length);
      }
    }),
  );
  moved.splice(at, 0, ...(put as RecordedEvent[]));
  const { report, findings } = await audited(forged(live, join(directory, 'put.sqlite'), moved), places);
  t.true(report.differing >= 1);
  const found = findings.find(({ position }) => position === place + 1 + put.length);
  t.true(
    found?.differences.some(({ derived }) => derived.includes(uuid) || derived === '1'),
    JSON.stringify(found),
  );
});

test('an exclusion that was taken out of the log is reported by the decisions that obeyed it', async (t) => {
  const excluded = events.filter(({ type }) => type === 'ExcludedFromReuse').map(({ position }) => position);
  const without = events.map((event) =>
    event.position !== excluded[0]
      ? event
      : changed(event, (data) => {
          data.exclusion = { id: 'another', reason: 'x', output: 'sha256:nothing' };
        }),
  );
  const { report } = await audited(forged(live, join(directory, 'exclusion.sqlite'), without), places);
  t.true(report.differing >= 3, `${report.differing}`);
});

test('a reuse that was not read, of a job that had been deleted for longer than it says, is reported', async (t) => {
  const deletion = events.findIndex(({ type }) => type === 'JobDeleted');
  const uuid = events[deletion]?.stream.slice('job-'.length) ?? '';
  const reuse = deletion - 1;
  t.is(events[reuse]?.stream, `reuse-${uuid}`);
  const deletedFor = async (milliseconds: number, unread: boolean) => {
    const swapped = [...events];
    const answered = new Date(String(dataOf(events[reuse] as RecordedEvent).reusedAt)).getTime();
    swapped[reuse] = { ...(events[deletion] as RecordedEvent), recordedAt: answered - milliseconds };
    swapped[deletion] = changed(events[reuse] as RecordedEvent, ({ basis }) => {
      if (basis && unread) basis.logEndWithin = '0.250s';
    });
    return audited(forged(live, join(directory, `unread-${milliseconds}-${unread}.sqlite`), swapped), places);
  };
  t.is((await deletedFor(60_000, false)).report.differing, 0);
  t.is((await deletedFor(10_000, true)).report.differing, 0);
  const { report, findings } = await deletedFor(60_000, true);
  t.is(report.differing, 1);
  t.is(findings[0]?.position, deletion + 1);
  t.regex(findings[0]?.why ?? '', /250 ms before, but it had been deleted for 60000 ms, at position/);
});

test('what cannot be taken again is counted apart: a repository that is gone, and decisions of older versions', async (t) => {
  const { report, findings } = await audited(live, { elsewhere: places.elsewhere });
  t.is(report.differing, 0);
  t.true(report.underivable >= 5);
  t.is(report.same + report.underivable, decisions);
  t.true(findings.every(({ kind, why }) => kind === 'underivable' && why.includes('project')));

  // Nor did older versions tell what a checkout leaves, so that all jobs are treated alike, or answer with unfinished jobs of others.
  const ownerOf = new Map(events.flatMap((event) => (event.type === 'JobRequested' ? [ownerIn(event)] : [])));
  let shared = 0;
  const older = events.map((event) =>
    changed(event, (data) => {
      delete data.basis;
      const unfinished = /_REUSED_(QUEUED|RUNNING)$/.test(data.decision?.outcome ?? '');
      if (unfinished && ownerOf.get(data.decision?.uuid ?? '') !== (data.requestedBy ?? data.principal)) {
        delete data.decision;
        shared++;
      }
      delete data.leaveLfsPointers;
      delete data.leaveSubmodules;
    }),
  );
  const before = await audited(forged(live, join(directory, 'older.sqlite'), older), places);
  t.is(before.report.differing, 0);
  t.is(before.report.byLogBefore, before.report.same);
  t.is(before.report.same + before.report.underivable, decisions - shared);
  t.true(before.report.same > (decisions - shared) / 2);
});

test('a decision that says it saw what came after it is reported', async (t) => {
  const first = events.findIndex((event) => dataOf(event).basis !== undefined);
  const path = forged(
    live,
    join(directory, 'later.sqlite'),
    events.map((event, i) =>
      i !== first
        ? event
        : changed(event, ({ basis }) => {
            if (basis) basis.position = '1000000';
          }),
    ),
  );
  const { report, findings } = await audited(path, places);
  t.is(report.differing, 1);
  t.regex(findings[0]?.why ?? '', /1000000, which is not before it/);
});

test('each decision is taken again by the set of rules that it names, and one of an unknown set is told, not skipped', async (t) => {
  const [first = -1, second = -1] = events.flatMap((event, i) => (dataOf(event).basis === undefined ? [] : [i]));
  const named = events.map((event, i) =>
    changed(event, ({ basis }) => {
      if (!basis) return;
      if (i === first) basis.rules = 7;
      if (i === second) basis.rules = 1;
    }),
  );
  const { report, findings } = await audited(forged(live, join(directory, 'rules.sqlite'), named), places);
  t.like(report, { differing: 0, underivable: 1, same: decisions - 1 });
  t.deepEqual(
    findings.map(({ kind, position, why }) => [kind, position, why]),
    [['underivable', first + 1, 'it was taken by rule set 7, which this version does not have']],
  );
});

test('memoir audit decisions prints what differs, and ends with 1', async (t) => {
  const reused = events.findIndex((event) => event.type === 'JobReused');
  const path = forged(
    live,
    join(directory, 'cli.sqlite'),
    events.map((event, i) =>
      i !== reused
        ? event
        : changed(event, ({ decision }) => {
            if (decision) decision.uuid = '11111111-1111-5111-8111-111111111111';
          }),
    ),
  );
  const repositories = Object.entries(places).flatMap(([name, one]) => ['--repository', `${name}=${one}`]);
  const args = ['audit', 'decisions', '--data-dir', server.config.data_dir, ...repositories];
  const wrong = startMemoir([...args, '--store', `sqlite:${path}`]);
  t.is(await wrong.ended(), 7, wrong.errors());
  t.regex(wrong.output(), new RegExp(`^DIFFERS: the decision at position ${reused + 1}, `));
  t.regex(wrong.output(), /uuid: recorded 11111111-1111-5111-8111-111111111111; comes out /);
  t.true(wrong.output().includes('1 differ,'), wrong.output());
  const right = startMemoir([...args, '--json', '--from', '10', '--to', '40']);
  t.is(await right.ended(), 0, right.errors());
  const { report } = JSON.parse(right.output()) as { report: { from: number; to: number; differing: number } };
  t.like(report, { from: 10, to: 40, differing: 0 });
});

test('jobs of an old log, which could not tell what they leave, answer requests where their commit has nothing to leave', async (t) => {
  const { repository, first } = makeProject();
  const { git } = repository;
  const filtered = repository.commit({ 'data/.gitattributes': '*.bin filter=lfs\n' });
  git('rm', '--quiet', 'data/.gitattributes');
  git('update-index', '--add', '--cacheinfo', `160000,${first},lib`);
  git('commit', '--quiet', '--message=submodule');
  const withSubmodule = git('rev-parse', 'HEAD');
  const repositories = { project: repository.path };

  const before = await startTestServer({ repositories });
  const [ada, bob] = [before.as('ada'), before.as('bob')];
  const left = { leaveLfsPointers: true, leaveSubmodules: true };
  for (const scriptVersion of [first, filtered, withSubmodule]) {
    await complete(bob, uuidOf(await request(ada, { scriptVersion, ...left })));
  }
  const queued = uuidOf(await request(ada, { scriptVersion: first, scriptParameters: { queued: true }, ...left }));
  await before.stop();
  const recorded = await eventsOf(join(before.config.data_dir, 'events.sqlite'));
  await before.dispose();
  const old = recorded.map((event) =>
    changed(event, (data) => {
      delete data.basis;
      delete data.leaveLfsPointers;
      delete data.leaveSubmodules;
    }),
  );
  const dataDir = join(directory, 'old');
  mkdirSync(dataDir);
  const path = forged(live, join(dataDir, 'events.sqlite'), old);

  const server = await startTestServer({ repositories, settings: { data_dir: dataDir } });
  const eve = server.as('eve');
  const rulesOf = async (more: Parameters<typeof find>[1]) => {
    const { decision } = await eve.jobs.explainReuse({
      request: { repository: 'project', script: 'run.sh', findOrCreate: true, ...more },
    });
    return decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]);
  };
  const found = await find(eve, { scriptVersion: first });
  t.is(found.decision?.outcome, Outcome.REUSED_COMPLETE);
  t.is((await find(eve, { scriptVersion: first })).decision?.outcome, Outcome.REUSED_COMPLETE);
  const again = await find(server.as('ada'), { scriptVersion: first, scriptParameters: { queued: true } });
  t.is(uuidOf(again), queued);
  t.is((await find(eve, { scriptVersion: 'v1', filters: ofRun })).job?.scriptVersion, first);
  t.deepEqual(await rulesOf({ scriptVersion: filtered }), ['SCRIPT_VERSION', 'CHECKOUT', 'SCRIPT_VERSION']);
  t.deepEqual(await rulesOf({ scriptVersion: withSubmodule }), ['SCRIPT_VERSION', 'SCRIPT_VERSION', 'CHECKOUT']);
  t.deepEqual(await rulesOf({ scriptVersion: withSubmodule, minimumScriptVersion: first }), [
    'UNSPECIFIED',
    'CHECKOUT',
    'CHECKOUT',
  ]);
  t.false((await find(eve, { scriptVersion: filtered })).reused);
  t.false((await find(eve, { scriptVersion: withSubmodule })).reused);
  t.is((await find(eve, { scriptVersion: withSubmodule, ...left })).decision?.outcome, Outcome.REUSED_COMPLETE);
  await server.stop();

  // The audit has it from the log, without the repository.
  const { report, findings } = await audited(path, {});
  t.deepEqual(findings, []);
  t.like(report, { same: 7, differing: 0, underivable: 0 });
  const now = await eventsOf(path);
  const basisOf = (event: RecordedEvent) => dataOf(event).basis?.plainCommits;
  t.deepEqual(now.slice(old.length).map(basisOf), [
    [first],
    [first],
    [first],
    [first],
    undefined,
    undefined,
    undefined,
  ]);
  const unsaid = now.map((event) => changed(event, ({ basis }) => void delete basis?.plainCommits));
  const without = await audited(forged(live, join(directory, 'not-plain.sqlite'), unsaid), {});
  t.like(without.report, { same: 3, differing: 4 });
  await server.dispose();
  repository.dispose();
});

const filter = (attribute: string, value: string) => ({
  attribute,
  operator: '=',
  operand: { kind: { case: 'stringValue' as const, value } },
});
const ofRun = [filter('repository', 'project'), filter('script', 'run.sh')];
