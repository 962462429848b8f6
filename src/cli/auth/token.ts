import { Command, InvalidArgumentError, Option } from 'commander';
import type { TokenRecord } from '../../auth/token-file.js';
import { durationOf, isDuration } from '../../config/duration.js';
import { MemoirError, messageOf, quote } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { table } from '../text/table.js';

type Options = {
  readonly file?: string;
  readonly config?: string;
  readonly json?: boolean;
};

/** How long a token is good for unless that is said. */
const usual = '90d';

/** `memoir token`. */
export function tokenCommand(): Command {
  const token = new Command('token').description('make, list and take back the tokens that a server knows callers by');
  const commands = [makeCommand(), listCommand(), revokeCommand()];
  for (const one of [token, ...commands]) one.exitOverride();
  for (const one of commands) token.addCommand(one);
  return token;
}

function makeCommand(): Command {
  const command = new Command('make')
    .description('make a token and print it, once: its file keeps the SHA-256 alone')
    .requiredOption('--principal <name>', 'whose it is: what auth.token_principal makes a principal of')
    .option('--expires <duration>', 'how long it is good for: a whole number and s, m, h, d or w', duration, usual);
  return ofFile(command).action(async (options: Options & { readonly principal: string; readonly expires: string }) => {
    const { makeToken } = await import('../../auth/token-file.js');
    const { path, principal } = await fileOf(options);
    const life = { now: systemEdge.now(), lifetimeMs: durationOf(options.expires) };
    const of = principal(options.principal);
    const { token, made } = await told(() => makeToken(path, options.principal, life));
    note(`token ${made.id} of ${printable(of)}, good until ${made.expires_at}; nobody can have it printed again`);
    await printLine(token);
  });
}

function listCommand(): Command {
  const command = new Command('list')
    .description('print the tokens of a file, without their secrets')
    .option('--json', 'print JSON, one object a line');
  return ofFile(command).action(async (options: Options) => {
    const { readTokens } = await import('../../auth/token-file.js');
    const { path, principal } = await fileOf(options);
    const rows = (await told(async () => readTokens(path))).map((one) => ({
      id: one.id,
      principal: principal(one.name),
      state: stateOf(one, systemEdge.now()),
      created_at: one.created_at,
      expires_at: one.expires_at,
      ...(one.revoked_at !== undefined && { revoked_at: one.revoked_at }),
    }));
    if (options.json) {
      for (const row of rows) await printLine(JSON.stringify(row));
      return;
    }
    if (rows.length === 0) return note('no tokens');
    const cells = rows.map((row) => [row.id, printable(row.principal), row.state, row.created_at, row.expires_at]);
    await printLine(table(['ID', 'PRINCIPAL', 'STATE', 'MADE', 'EXPIRES'], cells));
  });
}

function revokeCommand(): Command {
  const command = new Command('revoke')
    .description('take tokens back: servers refuse them, and end what they opened, within seconds')
    .argument('[id]', 'which one, by its id')
    .option('--principal <name>', 'all of those made with this name');
  return ofFile(command).action(async (id: string | undefined, options: Options & { readonly principal?: string }) => {
    if ((id === undefined) === (options.principal === undefined)) {
      throw new MemoirError('INVALID_ARGUMENT', 'BAD_OPTIONS', 'give either the id of a token or --principal');
    }
    const { revokeTokens } = await import('../../auth/token-file.js');
    const { path } = await fileOf(options);
    const isMeant = (one: TokenRecord) => (id === undefined ? one.name === options.principal : one.id === id);
    const revoked = await told(() => revokeTokens(path, isMeant, systemEdge.now()));
    if (revoked.length === 0) {
      const which = id === undefined ? `of ${quote(options.principal ?? '')}` : `with the id ${quote(id)}`;
      throw new MemoirError('NOT_FOUND', 'NO_SUCH_TOKEN', `there is no token ${which} that was not taken back before`);
    }
    await printLine(`taken back: ${revoked.map((one) => one.id).join(', ')}`);
  });
}

function ofFile(command: Command): Command {
  return command
    .option('--file <file>', 'file of the tokens; default: auth.tokens of --config')
    .addOption(new Option('--config <file>', "the server's TOML file").env('MEMOIR_CONFIG'));
}

/** The file of tokens, and how it names principals. @throws MemoirError INVALID_ARGUMENT if none is named */
async function fileOf({ file, config }: Options): Promise<{ path: string; principal: (name: string) => string }> {
  const [{ tokenSettings }, { parseTemplate, principalBy }] = await Promise.all([
    import('../../config/settings.js'),
    import('../../domain/callers/principal.js'),
  ]);
  const settings = await tokenSettings({ file: config, environment: {}, flags: {}, directory: process.cwd() });
  const path = file ?? settings.path;
  if (path === undefined) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'BAD_OPTIONS',
      'no file of tokens is given: --file, or --config (MEMOIR_CONFIG) with auth.tokens',
    );
  }
  const template = parseTemplate(settings.template);
  return { path, principal: (name) => principalBy(template, name) };
}

function stateOf({ revoked_at, expires_at }: TokenRecord, now: number): string {
  if (revoked_at !== undefined) return 'revoked';
  return Date.parse(expires_at) <= now ? 'expired' : 'good';
}

async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_TOKENS', messageOf(error), { cause: error });
  }
}

function duration(text: string): string {
  if (!isDuration(text) || durationOf(text) < 1_000) {
    throw new InvalidArgumentError('Give a whole number and s, m, h, d or w.');
  }
  return text;
}
