import { readdirSync, readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { openImageRuntime } from '../../../src/worker/run/image-runtime.js';
import { imagePuller } from '../../../src/worker/run/pull-image.js';
import { openSandbox, type Sandbox } from '../../../src/worker/run/sandbox.js';
import { makeRepository } from '../../support/git-repository.js';
import { type Podman, startPodman } from '../../support/podman.js';
import { wanting } from '../../support/required.js';
import { request, uuidOf } from '../../support/runs.js';
import { startTestServer, type TestServer } from '../../support/server.js';
import { until } from '../../support/until.js';
import { workOnce } from '../../support/worker.js';

// What scripts do that mean no good, in each of what they are run in. The table in docs/work.md says the same.

/** A word that only the processes of this test have in their command line. */
const mark = `memoir-hostile-${process.pid}`;

/** Each says what it got, one word a line. */
const scripts = {
  // Ends at once, and leaves a process in a session of its own behind.
  'daemon.sh': `setsid sh -c 'setsid sh -c "while true; do sleep 0.2; done" ${mark}' >/dev/null 2>&1 &\nsleep 0.3\n`,
  'forks.sh': 'n=0; while [ $n -lt 400 ]; do sleep 5 & n=$((n+1)); done 2>/dev/null || true\necho started $n\n',
  'memory.sh': '(dd if=/dev/zero of=/dev/null bs=300M count=1) >/dev/null 2>&1\necho went on\n',
  'environ.sh': `for f in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $f; done 2>/dev/null | grep -q '^MEMOIR_HOSTILE_SECRET=' && echo read\ntrue\n`,
  'others.sh': 'ls / /tmp /home /root /etc 2>/dev/null | grep -q "memoir-work-\\|^shadow$" && echo seen\ntrue\n',
  'system.sh':
    'for f in /usr/x /bin/x /etc/x /proc/sys/vm/overcommit_ratio; do { cat $f 2>/dev/null || echo x; } > /tmp/kept; cat /tmp/kept 2>/dev/null > $f && echo wrote $f; done 2>/dev/null\ntrue\n',
  'network.sh': 'cat /proc/net/dev | grep -v "^ *lo:" | grep -q ":" && echo network\ntrue\n',
  'deaf.sh': 'trap "" TERM\necho began\nwhile true; do sleep 0.1; done\n',
  'closes.sh': 'exec >&- 2>&-\necho x > "$MEMOIR_OUTPUT/x"\n',
  'progress.sh':
    'dd if=/dev/zero of="$MEMOIR_PROGRESS" bs=1M count=100 2>/dev/null\nrm "$MEMOIR_PROGRESS"; ln -s /etc/passwd "$MEMOIR_PROGRESS"\n',
  'well.sh': 'echo well\n',
};
type Script = keyof typeof scripts;

/** What each mode lets a script get: nothing, or these words. */
const modes = ['container', 'sandbox', 'none'] as const;
type Mode = (typeof modes)[number];

const repository = makeRepository();
repository.commit(Object.fromEntries(Object.entries(scripts).map(([name, text]) => [name, `#!/bin/sh\n${text}`])));
let server: TestServer;
let podman: Podman | string;
let sandbox: Sandbox | undefined;
let without = '';
/** Whether runs without an image are in control groups of their own, as where a worker is root. */
let grouped = false;

test.before(async () => {
  process.env.MEMOIR_HOSTILE_SECRET = 'token';
  podman = await startPodman();
  ({ sandbox, why: without } = await openSandbox('auto', []));
  server = await startTestServer({ repositories: { project: repository.path } });
  if (typeof podman === 'string') return;
  const { registry, manifest: hash } = podman;
  await server.as('ada').images.registerImage({ hash, repository: `${registry.host}/tools/first`, tag: 'latest' });
});
test.after.always(async () => {
  await server?.dispose();
  if (typeof podman === 'object') await podman.dispose();
  repository.dispose();
});

function isThere(t: ExecutionContext, mode: Mode): boolean {
  if (mode === 'container' && typeof podman === 'string') wanting(t, 'podman', podman);
  else if (mode === 'sandbox' && !sandbox) wanting(t, 'bwrap', without);
  else return true;
  return false;
}

/** Requests a script, and has it run in a mode by a worker whose `work` is given what goes on beside it. */
async function run(mode: Mode, script: Script, beside?: (uuid: string) => Promise<unknown>) {
  const image = typeof podman === 'object' && mode === 'container' ? `${podman.registry.host}/tools/first` : '';
  const uuid = uuidOf(
    await request(server.as('ada'), {
      script,
      retry: { lost: 0 },
      runtimeConstraints: { dockerImage: image, minRamMbPerNode: 128 },
    }),
  );
  const runtime = mode === 'container' ? await openImageRuntime('podman') : undefined;
  const working = workOnce({
    address: server.address(),
    principal: 'w',
    repository: ['project', repository.path],
    offer: { cores: 1, ramMb: 512n, imageRuntimes: ['podman'] },
    sandbox: mode === 'sandbox' ? sandbox : undefined,
    ...(runtime && {
      images: (workDirectory: string) => ({
        runtime,
        pull: imagePuller(runtime, async () => undefined),
        network: undefined,
        workDirectory,
        uuid: () => crypto.randomUUID(),
        setsPath: false,
      }),
    }),
  });
  await Promise.all([working, beside?.(uuid)]);
  const job = (await server.as('ada').jobs.getJob({ uuid })).job as Job;
  let log = '';
  if (job.log !== '') {
    for await (const { data } of server.as('ada').content.readLog({ uuid })) log += Buffer.from(data).toString('utf8');
  }
  return { job, log: log.replaceAll(/^memoir: .*\n/gm, '') };
}

/** Whether a process with the mark in its command line goes on. */
function goesOn(): boolean {
  return readdirSync('/proc').some((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'latin1').endsWith(`${mark}\0`);
    } catch {
      return false;
    }
  });
}

function endThem(): void {
  for (const name of readdirSync('/proc')) {
    try {
      if (readFileSync(`/proc/${name}/cmdline`, 'latin1').endsWith(`${mark}\0`)) process.kill(Number(name), 'SIGKILL');
    } catch {
      // No process, or gone.
    }
  }
}

for (const mode of modes) {
  const isKept = mode !== 'none';
  test.serial(`${mode}: what a hostile script gets, and that the next job is well`, async (t) => {
    if (!isThere(t, mode)) return;
    const got = async (script: Script) => {
      const { job, log } = await run(mode, script);
      t.is(job.state, JobState.COMPLETE, `${script}: ${job.failureMessage}\n${log}`);
      return log;
    };
    const first = await run(mode, 'well.sh');
    grouped = first.job.ran?.peakRamBytes !== undefined;
    t.is(first.log, 'well\n', first.job.failureMessage);
    t.is(first.job.ran?.sandbox, mode === 'sandbox' ? 'bubblewrap' : '');

    await got('daemon.sh');
    t.is(goesOn(), !isKept && !grouped, 'a daemon');
    endThem();

    t.is(await got('environ.sh'), isKept ? '' : 'read\n', "the worker's environment");
    t.is(await got('others.sh'), isKept ? '' : 'seen\n', "others' files");
    if (isKept) t.is(await got('system.sh'), '', 'files of the system');
    t.is(await got('network.sh'), isKept ? '' : 'network\n', 'the network');

    const forks = await run(mode, 'forks.sh');
    if (isKept || grouped) t.notRegex(forks.log, /^started 400$/m, 'processes');
    const memory = await run(mode, 'memory.sh');
    if (isKept || grouped) t.is(memory.job.failureReason, 'OUT_OF_MEMORY', memory.log);
    else t.is(memory.job.state, JobState.COMPLETE);

    const deaf = await run(mode, 'deaf.sh', async (uuid) => {
      await until('it began', async () => {
        for await (const { text } of server.as('ada').jobs.tailJobLog({ uuid })) return text.includes('began');
        return false;
      });
      await server.as('ada').jobs.cancelJob({ uuid });
    });
    t.is(deaf.job.state, JobState.CANCELLED);
    await got('closes.sh');
    const { job } = await run(mode, 'progress.sh');
    t.is(job.progressMessage, '', 'what is no report is none');

    t.is((await run(mode, 'well.sh')).log, 'well\n', 'the next job is well');
  });
}
