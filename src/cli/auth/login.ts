import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Command } from 'commander';
import { invalid, MemoirError, messageOf, quote } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { connectTo, withClients } from '../client.js';
import { checkedToken, tokenOf } from '../credentials.js';
import { named, type RemoteOptions, remote } from '../options.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import type { DeviceCode, Granted } from './issuer.js';
import { keepProfile, type Profile, readProfile, removeProfile, usualProfile } from './profile.js';

/** `memoir login` and `memoir logout`. */
export function loginCommands(): readonly Command[] {
  const login = new Command('login').description(
    'keep a server, its authorities and a token for it, so that later commands need not be given them',
  );
  login
    .option('--issuer <url>', 'log in at an identity provider, in a browser on any machine, instead of giving a token')
    .option('--client-id <id>', 'what the issuer knows this program by (with --issuer)')
    .option('--scope <scopes>', 'what is asked of the issuer (with --issuer)', 'openid offline_access')
    .option(
      '--parameter <name=value>',
      'what else the issuer is to be told, such as audience=… or resource=… (with --issuer; repeatable)',
      named,
    );
  const logout = new Command('logout')
    .description(
      'forget what login kept, and end a login at its issuer; a token itself stays good until it expires or is taken back',
    )
    .option('--profile <name>', 'which one', usualProfile);
  return [remote(login).action(logIn), logout.action(logOut)];
}

type LoginOptions = RemoteOptions & {
  readonly issuer?: string;
  readonly clientId?: string;
  readonly scope: string;
  readonly parameter?: Readonly<Record<string, string>>;
};

async function logOut({ profile: name }: { readonly profile: string }): Promise<void> {
  const login = profileIfAny(name)?.login;
  if (!removeProfile(name, process.env)) {
    throw new MemoirError('NOT_FOUND', 'NO_PROFILE', `there is no profile ${quote(name)}`);
  }
  if (login) {
    const { endLogin } = await import('./issuer.js');
    try {
      if (!(await endLogin(login)))
        note(`the issuer ${printable(login.issuer)} takes no word of it: the login ends there by itself`);
    } catch (error) {
      note(`warning: the login does not end at its issuer: ${printable(messageOf(error))}`);
    }
  }
  await printLine(`forgotten: ${name}`);
}

/** A profile that can be read; what cannot is forgotten all the same. */
function profileIfAny(name: string): Profile | undefined {
  try {
    return readProfile(name, process.env);
  } catch (error) {
    if (error instanceof MemoirError && error.message.startsWith('--profile')) throw error;
    return undefined;
  }
}

async function logIn(options: LoginOptions): Promise<void> {
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
  const { token, login } =
    options.issuer === undefined ? { token: await givenToken(options) } : await atIssuer(options);
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
  const path = keepProfile(
    profile,
    { server, ...(ca !== undefined && { ca }), token, ...(login && { login }) },
    process.env,
  );
  await printLine(`logged in to ${printable(server)} as ${printable(who.principal)}; kept in ${printable(path)}`);
}

async function givenToken(options: LoginOptions): Promise<string> {
  if (options.clientId !== undefined || options.parameter !== undefined) {
    throw invalid(
      'issuer',
      'BAD_OPTIONS',
      '--client-id and --parameter are for a login at an issuer: give --issuer too',
    );
  }
  return tokenOf(options, process.env)?.() ?? checkedToken(await asked(), 'what was given');
}

/** What an issuer is told by the flow itself. */
const ownParameters: ReadonlySet<string> = new Set([
  'client_id',
  'client_secret',
  'device_code',
  'grant_type',
  'refresh_token',
  'scope',
]);

/** A token that an issuer gives once somebody has said so there. */
async function atIssuer(options: LoginOptions): Promise<Granted> {
  const { issuer = '', clientId, scope, parameter: parameters = {} } = options;
  if (clientId === undefined) {
    throw invalid('client_id', 'BAD_OPTIONS', 'give --client-id: what the issuer knows this program by');
  }
  if (options.tokenFile !== undefined) {
    throw invalid('issuer', 'BAD_OPTIONS', 'give either --issuer or --token-file (MEMOIR_TOKEN_FILE)');
  }
  const taken = Object.keys(parameters).find((name) => ownParameters.has(name));
  if (taken !== undefined) {
    throw invalid('parameter', 'BAD_OPTIONS', `--parameter ${quote(taken)} is what login itself tells the issuer`);
  }
  // Where a token may not be sent anyway, nobody is asked for one.
  const { profile: _, ...asGiven } = options;
  connectTo({ ...asGiven, given: { token: 'none' } }).close();
  const { logInByDevice } = await import('./issuer.js');
  return logInByDevice({ issuer, client_id: clientId, scope, parameters }, tellCode, systemEdge.now);
}

function tellCode({ page, code, pageWithCode, lifetime }: DeviceCode): void {
  note(`To log in, open ${printable(page)} and give the code ${printable(code)}`);
  if (pageWithCode !== undefined) note(`or open ${printable(pageWithCode)} and see that it shows that code.`);
  note(`The code is good for ${Math.ceil(lifetime / 60)} minutes.`);
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
