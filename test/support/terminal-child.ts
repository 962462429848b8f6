import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { runInGroup } from '../../src/worker/process-group.js';

// In a process that has a terminal: says whether a process of its own can open that, and whether a script that is run as a worker does can.

const args = ['-c', '(exec 3<>/dev/tty) 2>/dev/null'];
const worker = spawnSync('/bin/sh', args, { stdio: 'ignore' }).status === 0;
const nothing = openSync('/dev/null', 'r+');
const program = {
  path: '/bin/sh',
  args,
  directory: '/',
  environment: {},
  stdin: nothing,
  output: nothing,
  onStart: () => undefined,
};
const { code } = await runInGroup(program, new AbortController().signal, 1_000);
process.stdout.write(`${JSON.stringify({ worker, script: code === 0 })}\n`);
