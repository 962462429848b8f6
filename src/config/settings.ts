import { dirname, join, resolve } from 'node:path';
import type { z } from 'zod';
import { type ServerConfig, serverConfig } from '../config.js';
import { invalid, quote } from '../domain/errors.js';
import { fromEnvironment, fromFile, fromFlags, type Layer } from './layers.js';

/** Where settings come from. */
export type Sources = {
  /** Path of a TOML file; absent for none. */
  readonly file?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Values of command line options by the key of the setting; what is absent was not given. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** Directory that relative paths of environment and flags begin at. */
  readonly directory: string;
};

/**
 * The settings of a server: flags before environment before file before defaults; repositories of all three together, by name.
 * Relative paths in the file begin at the file's directory. An sqlite URL is made absolute in the same way.
 * @throws MemoirError INVALID_ARGUMENT naming the file, variable or flag, the key and the value
 */
export async function serverSettings(sources: Sources): Promise<ServerConfig> {
  return parsed(serverConfig, await layersOf(sources));
}

/** The repositories alone of such settings, for a worker. What else the file holds is checked too, but need not be whole. */
export async function repositorySettings(sources: Sources): Promise<ServerConfig['repositories']> {
  const settings = parsed(serverConfig.partial({ data_dir: true }), await layersOf(sources));
  return settings.repositories;
}

/** What such settings say of where a server's log is, for who works on the log alone. What else they hold is checked too. */
export async function storeSettings(sources: Sources): Promise<Partial<Pick<ServerConfig, 'data_dir' | 'store'>>> {
  const { data_dir, store } = parsed(serverConfig.partial({ data_dir: true }), await layersOf(sources));
  return { ...(data_dir !== undefined && { data_dir }), ...(store !== undefined && { store }) };
}

/** From the strongest to the weakest. */
async function layersOf({ file, environment, flags, directory }: Sources): Promise<readonly Layer[]> {
  return [
    absolute(fromFlags(flags), directory),
    absolute(fromEnvironment(environment), directory),
    ...(file === undefined ? [] : [absolute(await fromFile(file), dirname(resolve(directory, file)))]),
  ];
}

function parsed<Schema extends z.ZodType>(schema: Schema, layers: readonly Layer[]): z.output<Schema> {
  // Without a prototype, so that a key "__proto__" is one of its keys, and unknown as it should be.
  const values: Record<string, unknown> = Object.create(null);
  for (const layer of [...layers].reverse()) {
    for (const [key, value] of Object.entries(layer.values)) {
      values[key] = isTable(value) && isTable(values[key]) ? { ...values[key], ...value } : value;
    }
  }
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  throw firstError(result.error, layers);
}

/** Where a server's checkpoint key is, by such settings; undefined if they name no data directory and no key, or a command that prints it. */
export async function checkpointKeySettings(
  sources: Sources,
): Promise<{ readonly path: string; readonly origin: string | undefined } | undefined> {
  const settings = parsed(serverConfig.partial({ data_dir: true }), await layersOf(sources));
  if (settings.checkpoint_key_command) return undefined;
  const path = settings.checkpoint_key ?? (settings.data_dir && join(settings.data_dir, 'checkpoint.key'));
  return path === undefined || path === '' ? undefined : { path, origin: settings.checkpoint_origin };
}

/** What such settings say of tokens: their file, if they name one, and how principals are made of names. */
export async function tokenSettings(
  sources: Sources,
): Promise<{ readonly path: string | undefined; readonly template: string }> {
  const { auth } = parsed(serverConfig.partial({ data_dir: true }), await layersOf(sources));
  return { path: auth.tokens, template: auth.token_principal };
}

function firstError(error: z.ZodError, layers: readonly Layer[]): Error {
  const [issue] = error.issues;
  if (!issue) throw error;
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue.path;
  const layer = layers.find((one) => valueAt(one.values, path) !== undefined);
  const key = path.map(String).join('.');
  if (!layer) {
    if (key === 'data_dir') {
      return invalid(
        key,
        'BAD_CONFIG',
        'no data directory is given: --data-dir, MEMOIR_DATA_DIR, or data_dir in a file',
      );
    }
    return invalid(key, 'BAD_CONFIG', `${quote(key)}: ${issue.message}`);
  }
  const origin = layer.origin(path.map(String));
  if (issue.code === 'unrecognized_keys') {
    const instead = Object.hasOwn(gone, key) ? gone[key] : undefined;
    return invalid(key, 'BAD_CONFIG', `${origin}: ${instead ?? `unknown key ${quote(key)}`}`);
  }
  const value = valueAt(layer.values, path);
  const shown = shownValue(path, value);
  // A record's bad key is reported at that key, whose value is not what is wrong.
  const what = issue.code === 'invalid_key' ? `the name ${quote(String(path.at(-1)))}` : quote(shown);
  const why = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  return invalid(key, 'BAD_CONFIG', `${origin}: ${what} is no value of ${quote(key)}: ${why}`);
}

/** Settings of before that mean nothing any more, and what there is instead. */
const gone: Readonly<Record<string, string>> = {
  insecure:
    'the setting "insecure" is no more. On a loopback address a policy needs nothing beside it: callers name themselves there. For other ' +
    'addresses give tls and what tells callers, or plaintext_beyond_loopback, under which nobody is told by a name of its own giving',
};

/** Settings whose members may have passwords. */
const withPasswords: readonly PropertyKey[] = ['registries', 'repositories', 'credentials'];

/** The value as a message may show it: a password is never shown, nor what may hold one. */
function shownValue([first = '', ...rest]: readonly PropertyKey[], value: unknown): string {
  const open = !withPasswords.includes(first);
  const plain = open || rest.at(-1) === 'url' || rest.at(-1) === 'path';
  if (!plain && (typeof value === 'object' || typeof value === 'string')) return '(not shown)';
  if (!open && typeof value === 'object') return '(not shown)';
  if (typeof value === 'string') return open ? value : value.replace(/\/\/[^/]*@/, '//(not shown)@');
  return JSON.stringify(value) ?? String(value);
}

function absolute(layer: Layer, directory: string): Layer {
  const values: Record<string, unknown> = { ...layer.values };
  for (const key of ['data_dir', 'policy', 'checkpoint_key']) {
    const path = values[key];
    if (typeof path === 'string' && path !== '') values[key] = resolve(directory, path);
  }
  if (isTable(values.tls)) values.tls = absoluteTls(values.tls, directory);
  if (isTable(values.auth)) values.auth = absoluteAuth(values.auth, directory);
  if (typeof values.store === 'string' && /^sqlite:(?!\/).+/.test(values.store)) {
    values.store = `sqlite:${resolve(directory, values.store.slice('sqlite:'.length))}`;
  }
  // An address of a store stands for the table with it.
  if (typeof values.content === 'string') values.content = { store: values.content };
  if (isTable(values.content)) values.content = withFiles(values.content, directory, 'ca');
  if (isTable(values.repositories)) {
    values.repositories = Object.fromEntries(
      Object.entries(values.repositories).map(([name, repository]) => [
        name,
        isTable(repository) && typeof repository.path === 'string' && repository.path !== ''
          ? { ...repository, path: resolve(directory, repository.path) }
          : repository,
      ]),
    );
  }
  return { ...layer, values };
}

/** Settings of files in a table, made absolute. */
function withFiles(table: unknown, directory: string, ...keys: readonly string[]): unknown {
  if (!isTable(table)) return table;
  const made = keys
    .map((key) => [key, table[key]] as const)
    .filter(([, path]) => typeof path === 'string' && path !== '')
    .map(([key, path]) => [key, resolve(directory, path as string)] as const);
  return { ...table, ...Object.fromEntries(made) };
}

function absoluteTls(tls: Record<string, unknown>, directory: string): unknown {
  const authorities = isTable(tls.client_ca)
    ? Object.entries(tls.client_ca).map(([name, one]) => [name, withFiles(one, directory, 'file', 'denied')] as const)
    : undefined;
  return withFiles(
    { ...tls, ...(authorities && { client_ca: Object.fromEntries(authorities) }) },
    directory,
    'cert',
    'key',
  );
}

function absoluteAuth(auth: Record<string, unknown>, directory: string): unknown {
  const isUrl = (one: unknown) => isTable(one) && typeof one.jwks === 'string' && one.jwks.includes('://');
  const issuers = isTable(auth.issuers)
    ? Object.entries(auth.issuers).map(([name, one]) => [name, isUrl(one) ? one : withFiles(one, directory, 'jwks')])
    : undefined;
  return withFiles({ ...auth, ...(issuers && { issuers: Object.fromEntries(issuers) }) }, directory, 'tokens');
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  let at = values;
  for (const key of path) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);
}
