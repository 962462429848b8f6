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

/** What every command takes that calls a server. */
export type RemoteOptions = {
  readonly server: string;
  readonly principal?: string;
  readonly timeout: number;
};

/** Adds the options of `RemoteOptions`. */
export function remote(command: Command): Command {
  return command
    .addOption(
      new Option('--server <host:port>', 'address of the server').env('MEMOIR_SERVER').default('127.0.0.1:7420'),
    )
    .addOption(
      new Option('--principal <name>', 'who calls (default: name of the operating system user)').env(
        'MEMOIR_PRINCIPAL',
      ),
    )
    .option('--timeout <seconds>', 'longest time for a single answer', seconds(0.001, 3_600), 60);
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print ProtoJSON, one object a line');
}
