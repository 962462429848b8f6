import { invalid, quote } from '../domain/errors.js';

/** Where scripts look for programs, unless told otherwise: the same for every worker. */
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Variables that every run sets itself. */
const reserved = /^(HOME|TMPDIR|MEMOIR_.*)$/;

/** What beside Memoir's own variables is in a script's environment. */
export type EnvironmentOptions = {
  /** Where scripts look for programs; `defaultPath` if left out. */
  readonly path?: string | undefined;
  /** Variables of this process that are passed on. */
  readonly pass?: readonly string[] | undefined;
  /** Variables by name. */
  readonly set?: Readonly<Record<string, string>> | undefined;
};

/**
 * Environment of scripts: the same everywhere, but for what is named. Of this process nothing else gets into it, since what a script
 * finds there gets into its output.
 * @throws MemoirError INVALID_ARGUMENT BAD_OPTIONS or UNSET_VARIABLE, naming the option and the variable
 */
export function scriptEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  { path = defaultPath, pass = [], set = {} }: EnvironmentOptions,
): Record<string, string> {
  const environment: Record<string, string> = { PATH: path, LANG: 'C.UTF-8', TZ: 'UTC' };
  const take = (option: string, name: string, value: string) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw invalid(option, 'BAD_OPTIONS', `--${option} ${quote(name)}: not a name of a variable`);
    }
    if (reserved.test(name)) {
      throw invalid(option, 'BAD_OPTIONS', `--${option} ${quote(name)}: every run sets this variable itself`);
    }
    environment[name] = value;
  };
  for (const name of pass) {
    const value = own[name];
    if (value === undefined) {
      throw invalid('pass-env', 'UNSET_VARIABLE', `--pass-env ${quote(name)}: the variable is not set`);
    }
    take('pass-env', name, value);
  }
  for (const [name, value] of Object.entries(set)) take('env', name, value);
  return environment;
}
