import { invalid } from '../../domain/errors.js';
import { type CommandEnd, type CommandOptions, complaint, runCommand } from './command.js';

/** The runtimes whose commands are known. */
export const runtimeNames = ['podman', 'docker'] as const;
export type RuntimeName = (typeof runtimeNames)[number];

/** What runs images, by its own command. */
export type ImageRuntime = {
  readonly name: RuntimeName;
  readonly version: string;
  /** Platform that it runs images of, such as "linux/amd64". */
  readonly platform: string;
  /** What it can bound of a container. */
  readonly bounds: { readonly memory: boolean; readonly cpu: boolean; readonly pids: boolean };
  /** Whether it makes control groups itself, at any path that it is told. */
  readonly ownGroups: boolean;
  /** Whether it is without the rights of root. */
  readonly rootless: boolean;
  /**
   * Runs its command.
   * @throws Error of the system, or the signal's reason
   */
  command(args: readonly string[], options?: CommandOptions): Promise<CommandEnd>;
};

/**
 * Opens a runtime; "auto" takes the first that works, and gives undefined if none does.
 * @throws MemoirError INVALID_ARGUMENT BAD_OPTIONS if the one that is named does not work
 */
export async function openImageRuntime(choice: RuntimeName | 'auto'): Promise<ImageRuntime | undefined> {
  for (const name of choice === 'auto' ? runtimeNames : [choice]) {
    try {
      return await probed(name);
    } catch (error) {
      if (choice === 'auto') continue;
      throw invalid(
        'image-runtime',
        'BAD_OPTIONS',
        `--image-runtime ${name} cannot be used: ${(error as Error).message}`,
      );
    }
  }
  return undefined;
}

async function probed(name: RuntimeName): Promise<ImageRuntime> {
  const command: ImageRuntime['command'] = (args, options) => runCommand(name, args, options);
  const facts = name === 'podman' ? await podmanFacts(command) : await dockerFacts(command);
  return { name, command, ...facts };
}

type Facts = Pick<ImageRuntime, 'version' | 'platform' | 'bounds' | 'ownGroups' | 'rootless'>;

async function podmanFacts(command: ImageRuntime['command']): Promise<Facts> {
  const { host, version } = (await answered(command, ['info', '--format', 'json'])) as {
    readonly host: {
      readonly os: string;
      readonly arch: string;
      readonly cgroupControllers?: readonly string[] | null;
      readonly cgroupManager?: string;
      readonly security?: { readonly rootless?: boolean };
    };
    readonly version: { readonly Version: string };
  };
  const has = (name: string) => host.cgroupControllers?.includes(name) ?? false;
  return {
    version: version.Version,
    platform: `${host.os}/${host.arch}`,
    bounds: { memory: has('memory'), cpu: has('cpu'), pids: has('pids') },
    ownGroups: host.cgroupManager === 'cgroupfs' && !(host.security?.rootless ?? false),
    rootless: host.security?.rootless ?? false,
  };
}

async function dockerFacts(command: ImageRuntime['command']): Promise<Facts> {
  const { Version, Os, Arch } = (await answered(command, ['version', '--format', '{{json .Server}}'])) as {
    readonly Version: string;
    readonly Os: string;
    readonly Arch: string;
  };
  // Its daemon is root's, whoever runs the command, unless it says otherwise.
  const info = (await answered(command, ['info', '--format', '{{json .}}'])) as {
    readonly SecurityOptions?: readonly string[] | null;
    readonly CgroupDriver?: string;
  };
  const rootless = (info.SecurityOptions ?? []).some((option) => option.includes('rootless'));
  return {
    version: Version,
    platform: `${Os}/${Arch}`,
    bounds: { memory: true, cpu: true, pids: true },
    // Who is not root could not remove them.
    ownGroups: info.CgroupDriver === 'cgroupfs' && !rootless && process.getuid?.() === 0,
    rootless,
  };
}

async function answered(command: ImageRuntime['command'], args: readonly string[]): Promise<unknown> {
  const end = await command(args, { signal: AbortSignal.timeout(30_000) });
  if (end.code !== 0) throw new Error(complaint(end));
  return JSON.parse(end.stdout);
}
