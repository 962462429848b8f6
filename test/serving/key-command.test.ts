import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { serverConfig } from '../../src/config.js';
import { keyOfCommand } from '../../src/serving/key-command.js';
import { serversKey } from '../../src/serving/signing.js';
import { until } from '../support/until.js';

const dir = mkdtempSync(join(tmpdir(), 'memoir-key-command-'));
test.after.always(() => rmSync(dir, { recursive: true }));

const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
const key = join(dir, 'key.pem');
writeFileSync(key, ed25519, { mode: 0o600 });

/** What signs, where this command prints the key. */
async function signer(checkpoint_key_command: string[], timeMs?: number, more = {}) {
  const config = serverConfig.parse({ data_dir: dir, checkpoint_key_command, ...more });
  return serversKey(config, await keyOfCommand(config, timeMs)).opened();
}

test('the key that a command prints is the one of the same file, and none is made', async (t) => {
  const printed = await signer(['cat', key]);
  const read = serversKey(serverConfig.parse({ data_dir: dir, checkpoint_key: key })).opened();
  t.is(printed.key.text, read.key.text);
  t.false(printed.made);
  t.is(await keyOfCommand(serverConfig.parse({ data_dir: dir })), undefined);
});

test('a command that gives no key is an error which says why, and not what it printed', async (t) => {
  const sh = (script: string) => ['sh', '-c', script];
  for (const [command, message] of [
    [['/no/such/command'], /checkpoint_key_command "\/no\/such\/command" cannot be run: .*ENOENT/],
    [[dir], /cannot be run: .*EACCES/],
    [sh('echo "no vault" >&2; exit 3'), /"sh" ended with 3: "no vault"/],
    [sh('exit 4'), /"sh" ended with 4$/],
    [sh('kill -9 $$'), /"sh" was ended by SIGKILL/],
    [sh('true'), /what checkpoint_key_command prints is no Ed25519 private key/],
    [sh('echo hunter2'), /what checkpoint_key_command prints is no Ed25519 private key/],
    [sh('head -c 100000 /dev/zero'), /prints more than 16384 bytes/],
    [sh('cat /dev/zero'), /prints more than 16384 bytes/],
    [['openssl', 'genpkey', '-algorithm', 'x25519'], /is no Ed25519 private key/],
  ] as const) {
    const error = await t.throwsAsync(signer([...command]), { message }, command.join(' '));
    t.false(error?.message.includes('hunter2'));
  }
  await t.throwsAsync(signer(['cat', key], undefined, { checkpoint_key: key }), {
    message: 'give checkpoint_key or checkpoint_key_command, not both',
  });
});

test('a command that hangs is ended, with what it started', async (t) => {
  const pid = join(dir, 'pid');
  const hangs = ['sh', '-c', `sleep 1000 & echo $! > ${pid}; wait`];
  await t.throwsAsync(signer(hangs, 300), { message: /"sh" did not end within 0.3 s/ });
  const { readFileSync, existsSync } = await import('node:fs');
  // Nobody may have waited for it yet, but then it is a zombie.
  await until('the child has ended', () => {
    const status = `/proc/${readFileSync(pid, 'utf8').trim()}/status`;
    return !existsSync(status) || /^State:\s+Z/m.test(readFileSync(status, 'utf8'));
  });
  t.pass();
});
