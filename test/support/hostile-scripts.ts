import type { ExecutionContext } from 'ava';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';

// What scripts do that mean no good: each is a row of the table in docs/work.md.

/** A word that only the processes of this test have in their command line. */
export const mark = `memoir-hostile-${process.pid}`;

/** Two files of an output that all may read, one of which is an input of jobs. */
export const [taken, kept] = ['taken\n', 'kept\n'];

/** What was run, and what it printed. */
export type Ran = { readonly job: Job; readonly log: string };

export const modes = ['container', 'sandbox', 'none'] as const;
export type Mode = (typeof modes)[number];

/** Where a script was run, and whether nothing of it can get out of that: an image, a sandbox, or a control group. */
export type Where = { readonly mode: Mode; readonly isHeld: boolean };

/** A row of the table: a script, and what is to become of it. */
export type Case = {
  readonly row: string;
  readonly script: string;
  /** What it prints where it gets what it wants. */
  readonly word?: string;
  /** Why it fails everywhere. */
  readonly reason?: string;
  readonly scratchMb?: number;
  readonly check?: (t: ExecutionContext, ran: Ran, where: Where) => void;
};

/** What a script does that is well, but looks first whether its places are as they should be. */
export const prelude = '#!/bin/sh\n[ -z "$(ls -A "$MEMOIR_OUTPUT" "$MEMOIR_TMP" | grep -v ":$")" ] && echo well\n';

export const cases: readonly Case[] = [
  {
    row: 'leaves a daemon behind, in a session of its own',
    script: `setsid sh -c 'setsid sh -c "while true; do sleep 0.2; done" ${mark}' >/dev/null 2>&1 &\nsleep 0.3\n`,
  },
  {
    row: 'starts processes without end',
    script: 'n=0; while [ $n -lt 400 ]; do sleep 5 & n=$((n+1)); done 2>/dev/null || true\necho started $n\n',
    check(t, { log }, { isHeld }) {
      if (isHeld) t.notRegex(log, /^started 400$/m, 'processes');
    },
  },
  {
    row: 'takes memory without end',
    script: '(dd if=/dev/zero of=/dev/null bs=300M count=1) >/dev/null 2>&1\necho went on\n',
    check(t, { job, log }, { isHeld }) {
      if (isHeld) t.is(job.failureReason, 'OUT_OF_MEMORY', log);
      else t.is(job.state, JobState.COMPLETE);
    },
  },
  {
    row: 'fills the disk',
    script:
      'trap "exit 1" TERM\nn=0; while true; do dd if=/dev/zero of="$MEMOIR_TMP/$n" bs=1M count=10 2>/dev/null; n=$((n+1)); sleep 0.1; done\n',
    reason: 'SCRATCH_LIMIT',
    scratchMb: 16,
    check(t, { job: { attempts } }) {
      const message =
        /^the script took (\d+) bytes of the disk, of 16 MiB that the job asked for; its working directory, its temporary directory and its output count$/;
      const [, took] = message.exec(attempts[0]?.message ?? '') ?? [];
      t.true(Number(took) > 16 * 1024 ** 2, attempts[0]?.message);
    },
  },
  {
    row: 'reads `/proc/*/environ` of the worker',
    script: `for f in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $f; done 2>/dev/null | grep -q '^MEMOIR_HOSTILE_SECRET=' && echo read\ntrue\n`,
    word: 'read',
  },
  {
    row: "looks for other users' files, `/etc/shadow`, `/home`",
    script: 'ls / /tmp /home /root /etc 2>/dev/null | grep -q "memoir-hostile-\\|^shadow$" && echo seen\ntrue\n',
    word: 'seen',
  },
  {
    row: 'reads what another job writes at the same time',
    script: 'cat "$BESIDE"/memoir-work-*/work/*/tmp/secret 2>/dev/null | grep -q "^neighbour" && echo read\ntrue\n',
    word: 'read',
  },
  {
    row: 'writes into system directories or `/proc/sys`',
    script:
      'for f in /usr/x /bin/x /etc/x /proc/sys/vm/overcommit_ratio; do { cat $f 2>/dev/null || echo x; } > /tmp/kept; cat /tmp/kept 2>/dev/null > $f && echo wrote $f; done 2>/dev/null\ntrue\n',
    check(t, { log }, { mode }) {
      if (mode !== 'none') t.is(log, 'well\n', 'files of the system');
    },
  },
  {
    row: "writes into the worker's cache of inputs, or where a server of this machine keeps content",
    script:
      'w=; for f in $VICTIMS; do [ -f $f ] && chmod u+w $f && echo tampered > $f && w=wrote; done 2>/dev/null\n[ -n "$w" ] && echo $w\ntrue\n',
    word: 'wrote',
  },
  {
    // All that come after it are of the same tree.
    row: 'changes its checkout, sizes and times as before',
    script:
      'for f in *.sh; do [ "$f" = "$(basename "$0")" ] && continue; touch -r "$f" "$MEMOIR_TMP/times"; tr a-z x < "$f" > "$MEMOIR_TMP/new"; cat "$MEMOIR_TMP/new" > "$f"; touch -r "$MEMOIR_TMP/times" "$f"; done\necho changed\n',
    check(t, { log }) {
      t.is(log, 'well\nchanged\n', 'its own');
    },
  },
  {
    row: 'leaves devices, pipes, or links out of the run in its output',
    script: 'mknod "$MEMOIR_OUTPUT/d" c 1 3 2>/dev/null || mknod "$MEMOIR_OUTPUT/d" p\n',
    reason: 'UNSTORABLE_OUTPUT',
  },
  {
    row: "types into the worker's terminal (TIOCSTI)",
    script:
      '(exec 3<>/dev/tty) 2>/dev/null && echo terminal\n[ -t 0 ] || [ -t 1 ] || [ -t 2 ] && echo terminal\ntrue\n',
    word: 'terminal',
  },
  {
    row: 'uses the network, or speaks to the server',
    script: `cat /proc/net/dev | grep -v "^ *lo:" | grep -q ":" && echo network
if command -v bash >/dev/null; then bash -c "exec 3<>/dev/tcp/127.0.0.1/$PORT"; else nc 127.0.0.1 $PORT </dev/null >/dev/null; fi 2>/dev/null && echo connected
true
`,
    word: 'network\nconnected',
  },
  {
    row: 'ignores SIGTERM when it is cancelled',
    script: 'trap "" TERM\necho began\nwhile true; do sleep 0.1; done\n',
    check(t, { job }) {
      t.is(job.state, JobState.CANCELLED);
    },
  },
  {
    row: 'closes its standard output',
    script: 'exec >&- 2>&-\necho x > "$MEMOIR_OUTPUT/x"\n',
  },
  {
    row: 'writes 100 MB as its progress, then a link',
    script:
      'dd if=/dev/zero of="$MEMOIR_PROGRESS" bs=1M count=100 2>/dev/null\nrm "$MEMOIR_PROGRESS"; ln -s /etc/passwd "$MEMOIR_PROGRESS"\n',
    check(t, { job }) {
      t.is(job.progressMessage, '', 'what is no report is none');
    },
  },
];

/** More of the same kinds, and what goes on beside them. */
export const others = {
  'well.sh': '',
  'makes.sh': `printf '${taken.replace('\n', '\\n')}' > "$MEMOIR_OUTPUT/taken"; printf '${kept.replace('\n', '\\n')}' > "$MEMOIR_OUTPUT/kept"\n`,
  'takes.sh': 'cat "$MEMOIR_INPUTS"/*/taken\n',
  // Not hostile, and kept.
  'links.sh':
    'echo x > "$MEMOIR_OUTPUT/x"; echo y > "$MEMOIR_TMP/y"; ln -s "$MEMOIR_OUTPUT/x" "$MEMOIR_OUTPUT/in"; ln -s "$MEMOIR_TMP/y" "$MEMOIR_OUTPUT/out"\n',
  'link.sh': 'ln -s /etc/shadow "$MEMOIR_TMP/b"; ln -s ../tmp/b "$MEMOIR_OUTPUT/b"\n',
  'exchanges.sh': 'rmdir "$MEMOIR_OUTPUT" 2>/dev/null && ln -s /etc "$MEMOIR_OUTPUT"\nexit 1\n',
  'neighbour.sh':
    'trap "exit 0" TERM\necho neighbour > "$MEMOIR_TMP/secret"; echo began\nwhile true; do sleep 0.2; done\n',
};
export const nameOfCase = (i: number) => `case-${i}.sh`;
