import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Command } from 'commander';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { withClients } from '../client.js';
import { checkedToken, tokenOf } from '../credentials.js';
import { type RemoteOptions, remote } from '../options.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { keepProfile, removeProfile, usualProfile } from './profile.js';

/** `memoir login` and `memoir logout`. */
export function loginCommands(): readonly Command[] {
  const login = new Command('login').description(
    'keep a server, its authorities and a token for it, so that later commands need not be given them',
  );
  const logout = new Command('logout')
    .description('forget what login kept; the token itself stays good until it expires or is taken back')
    .option('--profile <name>', 'which one', usualProfile);
  return [
    remote(login).action(logIn),
    logout.action(async ({ profile }: { readonly profile: string }) => {
      if (removeProfile(profile, process.env)) return printLine(`forgotten: ${profile}`);
      throw new MemoirError('NOT_FOUND', 'NO_PROFILE', `there is no profile ${quote(profile)}`);
    }),
  ];
}

async function logIn(options: RemoteOptions): Promise<void> {
  const { server, profile = usualProfile } = options;
  if (server === undefined) {
    throw invalid('server', 'BAD_OPTIONS', 'login needs to be told the server: --server grpcs://host:port');
  }
  if (options.tlsCert !== undefined || options.tlsKey !== undefined) {
    throw invalid(
      'tls_cert',
      'BAD_OPTIONS',
      'login keeps no certificates of callers: give --tls-cert and --tls-key to each command',
    );
  }
  const token = tokenOf(options, process.env)?.() ?? checkedToken(await asked(), 'what was given');
  // Nothing is kept that the server does not believe.
  const { profile: _, ...asGiven } = options;
  const who = await withClients({ ...asGiven, given: { token } }, ({ callers, unary }) => callers.whoAmI({}, unary));
  if (who.credentialKind === '') {
    throw invalid(
      'server',
      'NO_CREDENTIAL_NEEDED',
      `the server ${quote(server)} asks for no token: callers name themselves there`,
    );
  }
  const ca = options.tlsCa === undefined ? undefined : readFileSync(options.tlsCa, 'utf8');
  const path = keepProfile(profile, { server, ...(ca !== undefined && { ca }), token }, process.env);
  await printLine(`logged in to ${printable(server)} as ${printable(who.principal)}; kept in ${printable(path)}`);
}

/** A token from standard input, which a terminal does not show. */
async function asked(): Promise<string> {
  if (process.stdin.isTTY) note('Paste the token, which is not shown, and press Enter:');
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output, terminal: process.stdin.isTTY === true });
  try {
    for await (const line of lines) return line.trim();
    return '';
  } finally {
    lines.close();
  }
}
