import { readFile } from 'node:fs/promises';
import { parse, TomlDate } from 'smol-toml';
import { invalid, quote } from '../domain/errors.js';

/** Settings that one source gives, in the shape of the config file. */
export type Layer = {
  readonly values: Readonly<Record<string, unknown>>;
  /** What to call the place of a value in an error: a file, a variable, a flag. */
  origin(path: readonly string[]): string;
};

type Kind = 'text' | 'number' | 'boolean' | 'repositories';

/** Settings that variables and flags can give, and how their text is read. A file can give all. */
const settings: Readonly<Record<string, Kind>> = {
  data_dir: 'text',
  listen: 'text',
  store: 'text',
  content: 'text',
  log_format: 'number',
  repositories: 'repositories',
  policy: 'text',
  plaintext_beyond_loopback: 'boolean',
  // Refused with what there is instead.
  insecure: 'boolean',
  default_docker_image: 'text',
  reuse_if_outputs_differ: 'boolean',
  log_end_within: 'number',
  keep_commits: 'boolean',
  job_log_limit: 'number',
  checkpoint_key: 'text',
  checkpoint_origin: 'text',
  checkpoint_interval: 'number',
  sign: 'boolean',
  drain_timeout: 'number',
  wait_for_store: 'boolean',
  log_level: 'text',
};

/** Variables of other commands and of the scripts that workers run. */
const otherVariables = new Set(
  [
    'CONFIG',
    'SERVER',
    'PRINCIPAL',
    'SANDBOX',
    'PARAMETERS',
    'UNHASHED',
    'OUTPUT',
    'JOB_UUID',
    'SCRIPT_VERSION',
    'CODE_DIGEST',
    'TMP',
    'PROGRESS',
    'INPUTS',
    'INPUTS_JSON',
    'SECRETS',
    'AUDIT_KEY',
    'PROFILE',
    'TLS_CA',
    'TLS_CERT',
    'TLS_KEY',
    'TOKEN',
    'TOKEN_FILE',
  ].map((name) => `MEMOIR_${name}`),
);

/** A TOML file. @throws MemoirError INVALID_ARGUMENT naming the file: unreadable, or not TOML, with the line */
export async function fromFile(file: string): Promise<Layer> {
  const origin = `config file ${quote(file)}`;
  let values: Record<string, unknown>;
  try {
    values = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw invalid('config', 'BAD_CONFIG', `${origin}: ${(error as Error).message.trim()}`);
  }
  checkNoDates(values, [], origin);
  return { values, origin: () => origin };
}

/**
 * The variables that begin with MEMOIR_.
 * @throws MemoirError INVALID_ARGUMENT naming a variable that means nothing, or whose value cannot be read
 */
export function fromEnvironment(environment: Readonly<Record<string, string | undefined>>): Layer {
  const values: Record<string, unknown> = {};
  for (const [variable, text] of Object.entries(environment)) {
    // A container platform sets MEMOIR_SERVICE_… and MEMOIR_PORT_… by itself where a service is called memoir.
    if (!variable.startsWith('MEMOIR_') || text === undefined || /^MEMOIR_(SERVICE_|PORT)/.test(variable)) continue;
    const key = variable.slice('MEMOIR_'.length).toLowerCase();
    const kind = Object.hasOwn(settings, key) ? settings[key] : undefined;
    if (kind) values[key] = read(kind, text, variable, key);
    else if (!otherVariables.has(variable)) {
      throw invalid(key, 'BAD_CONFIG', `environment variable ${quote(variable)} (${quote(text)}) is no setting`);
    }
  }
  return { values, origin: ([key = '']) => `environment variable MEMOIR_${key.toUpperCase()}` };
}

/** Flags by the key of their setting; text of `--repository` is already split. */
export function fromFlags(flags: Readonly<Record<string, unknown>>): Layer {
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const kind = settings[key] ?? 'text';
    const name = flagName(key);
    if (kind === 'repositories') values[key] = repositoryTable(Object.entries(value as Record<string, string>));
    else values[key] = typeof value === 'string' ? read(kind, value, name, key) : value;
  }
  return { values, origin: ([key = '']) => flagName(key) };
}

function flagName(key: string): string {
  return key === 'repositories' ? '--repository' : `--${key.replaceAll('_', '-')}`;
}

function read(kind: Kind, text: string, origin: string, key: string): unknown {
  switch (kind) {
    case 'text':
      return text;
    case 'number':
      return text.trim() === '' || !Number.isFinite(Number(text)) ? text : Number(text);
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'repositories': {
      const pairs = text.split(',').filter((pair) => pair !== '');
      return repositoryTable(
        pairs.map((pair) => {
          const at = pair.indexOf('=');
          if (at < 1 || at === pair.length - 1) {
            throw invalid(key, 'BAD_CONFIG', `${origin}: ${quote(pair)} is not name=path`);
          }
          return [pair.slice(0, at), pair.slice(at + 1)] as const;
        }),
        origin,
      );
    }
  }
}

function repositoryTable(pairs: readonly (readonly [string, string])[], origin = '--repository') {
  const names = pairs.map(([name]) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw invalid('repositories', 'BAD_CONFIG', `${origin}: the repository ${quote(twice)} is given twice`);
  }
  return Object.fromEntries(pairs.map(([name, path]) => [name, { path }]));
}

/** No setting is a date, and a date would pass for its text. */
function checkNoDates(value: unknown, path: readonly string[], origin: string): void {
  if (value instanceof TomlDate) {
    throw invalid(path.join('.'), 'BAD_CONFIG', `${origin}: ${quote(path.join('.'))} is a date; give text in quotes`);
  }
  if (value === null || typeof value !== 'object') return;
  for (const [key, member] of Object.entries(value)) checkNoDates(member, [...path, key], origin);
}
