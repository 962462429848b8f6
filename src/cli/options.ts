import { type Command, InvalidArgumentError, Option } from 'commander';

/** A parser of whole numbers from `min` to `max` for an option. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** A parser of numbers of seconds for an option, from `min` to `max`. */
export function seconds(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[0-9]{1,9}(\.[0-9]{1,9})?$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Give seconds, from ${min} to ${max}.`);
    return value;
  };
}

/** A parser of numbers, which may have decimals, from `min` to `max` for an option. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[0-9]{1,9}(\.[0-9]{1,9})?$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Give a number from ${min} to ${max}.`);
    return value;
  };
}

/** A parser of an option that may be given again and again: keeps every value, in their order. */
export function repeated(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** A parser of `name=value` options that may be given again: keeps all by name. The same name twice is an error. */
export function named(
  text: string,
  before: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('Give it as name=value.');
  const name = text.slice(0, at);
  if (before && Object.hasOwn(before, name)) throw new InvalidArgumentError('The name is given twice.');
  return Object.fromEntries([...Object.entries(before ?? {}), [name, text.slice(at + 1)]]);
}

/** Which server is called, and how one proves to it who calls. */
export type ServerOptions = {
  /** Absent where none is named: then the usual profile counts, or this machine. */
  readonly server?: string;
  readonly profile?: string;
  readonly principal?: string;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tokenFile?: string;
};

/** What every command takes that calls a server. */
export type RemoteOptions = ServerOptions & {
  readonly timeout: number;
};

/** Adds the options of `ServerOptions`. `principal` says who calls unless that is given. */
export function server(command: Command, principal: string): Command {
  const own = (flags: string, description: string, variable: string) =>
    command.addOption(new Option(flags, description).env(variable));
  command.addOption(
    new Option(
      '--server <address>',
      'the server: host:port, or grpcs://host:port for TLS (default: that of the profile, else 127.0.0.1:7420)',
    ).env('MEMOIR_SERVER'),
  );
  own('--profile <name>', 'what memoir login kept: server, authorities, token (default: "default")', 'MEMOIR_PROFILE');
  own('--principal <name>', principal, 'MEMOIR_PRINCIPAL');
  own(
    '--tls-ca <file>',
    "PEM file of the authorities of the server's certificate (default: the system's)",
    'MEMOIR_TLS_CA',
  );
  own('--tls-cert <file>', 'PEM file of a certificate that says who calls', 'MEMOIR_TLS_CERT');
  own('--tls-key <file>', 'PEM file of its private key', 'MEMOIR_TLS_KEY');
  return own('--token-file <file>', 'file of a token that says who calls; or MEMOIR_TOKEN', 'MEMOIR_TOKEN_FILE');
}

/** Adds the options of `RemoteOptions`. */
export function remote(command: Command): Command {
  return server(command, 'who calls (default: name of the operating system user)').option(
    '--timeout <seconds>',
    'longest time for a single answer',
    seconds(0.001, 3_600),
    60,
  );
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print ProtoJSON, one object a line');
}
