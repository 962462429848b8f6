import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { plainEnvironment } from '../../demo/program.js';

const project = fileURLToPath(new URL('../../../', import.meta.url));

/** The commands of README's section "Use it". */
function commands(): string {
  const readme = readFileSync(join(project, 'README.md'), 'utf8');
  const [, section = ''] = /^## Use it\n([\s\S]*?)^## /m.exec(readme) ?? [];
  return [...section.matchAll(/^(?: {4}(.*)|)$/gm)].map(([, line = '']) => line).join('\n');
}

/** A port of this machine that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return address !== null && typeof address === 'object' ? address.port : 0;
}

test('what README tells a newcomer to paste works as it says', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-readme-'));
  symlinkSync(join(project, 'build'), join(directory, 'build'));
  const address = `127.0.0.1:${await freePort()}`;
  // With the job control of a shell that people type into; each line's failure is one of the block.
  const shell = spawn('bash', ['-c', `set -me\n${commands()}`], {
    cwd: directory,
    env: { ...plainEnvironment(), MEMOIR_LISTEN: address, MEMOIR_SERVER: address },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  let said = '';
  for (const stream of [shell.stdout, shell.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [code] = await once(shell, 'close');
  t.is(code, 0, said);
  t.regex(said, /^new (\S+) Queued\n[\s\S]*^Complete \1\n[\s\S]*^reused \1 Complete\n[\s\S]*^would be new /m);
  t.regex(said, /^UUID +STATE[\s\S]*requested run\.sh of demo: run 1/m);
});
