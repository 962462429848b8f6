import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type DockerRegistry, hasDockerRegistry, startDockerRegistry } from './docker-registry.js';

/** Where a program is; undefined if it is not installed. */
export function programPath(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
}

/** Podman, and images for it in a registry of this machine. */
export type Podman = {
  readonly registry: DockerRegistry;
  /** Digests of a busybox: of its manifest, and of a list which has it, and another for s390x. */
  readonly manifest: string;
  readonly list: string;
  /** Digest of a list that has nothing for this platform. */
  readonly foreign: string;
  /** Digests of a manifest for another platform, and of one that the registry has, and answers with other bytes. */
  readonly other: string;
  readonly damaged: string;
  /** The image's id. */
  readonly id: string;
  podman(...args: string[]): string;
  dispose(): Promise<void>;
};

/** What busybox is in the image. */
const applets =
  'sh cat chmod ls env id sleep mkdir echo ln kill touch rm rmdir dd hostname true mknod nc ps grep wc wget setsid sort'.split(
    ' ',
  );

/**
 * Leads the commands of podman and buildah of this process to storage in a directory, and to what of the system's settings lets them make containers
 * where others are refused.
 */
export function useStorageIn(directory: string, registries = ''): void {
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  process.env.CONTAINERS_CONF = file(
    'containers.conf',
    `[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=4096:4096"]\n[engine]\n${programPath('runc') ? 'runtime="runc"\n' : ''}`,
  );
  const rootless = process.getuid?.() !== 0;
  process.env.CONTAINERS_STORAGE_CONF = file(
    'storage.conf',
    `[storage]\ndriver="overlay"\ngraphroot="${join(directory, 'graph')}"\nrunroot="${join(directory, 'run')}"\n` +
      (rootless ? `rootless_storage_path="${join(directory, 'graph')}"\n` : ''),
  );
  process.env.CONTAINERS_REGISTRIES_CONF = file('registries.conf', registries);
}

/**
 * Starts podman with storage of its own, to which this process's environment leads its command from then on; or says why it cannot be, as
 * where it is not installed, or the system lets it make no containers.
 */
export async function startPodman(): Promise<Podman | string> {
  for (const program of ['podman', 'busybox']) if (!programPath(program)) return `${program} is not installed`;
  if (!hasDockerRegistry) return 'docker-registry is not installed';
  const directory = mkdtempSync(join(tmpdir(), 'memoir-podman-'));
  const registry = await startDockerRegistry();
  useStorageIn(directory, `[[registry]]\nlocation="${registry.host}"\ninsecure=true\n`);
  const podman = (...args: string[]) => execFileSync('podman', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
  const dispose = async () => {
    spawnSync('podman', ['rm', '--all', '--force', '--time', '0']);
    spawnSync('podman', ['rmi', '--all', '--force']);
    await registry.dispose();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const tar = makeRoot(directory);
    const first = `${registry.host}/tools/first:1`;
    podman('import', '--change', 'CMD ["/bin/echo","the image spoke"]', '--change', 'ENV FROM_IMAGE=yes', tar, first);
    podman('run', '--rm', '--network', 'none', first, '/bin/true');
    const digest = (...push: string[]) => {
      podman(...push, '--digestfile', join(directory, 'digest'));
      return readFileSync(join(directory, 'digest'), 'utf8').trim();
    };
    const manifest = digest('push', '--quiet', first);
    const id = `sha256:${podman('image', 'inspect', '--format', '{{.Id}}', first)}`;
    const other = `${registry.host}/tools/other:1`;
    podman('import', '--arch', 's390x', tar, other);
    const otherDigest = digest('push', '--quiet', other);
    const spoilt = `${registry.host}/tools/damaged:1`;
    podman('import', '--message', 'damaged', tar, spoilt);
    const damaged = digest('push', '--quiet', spoilt);
    registry.damage(damaged);
    const listOf = (name: string, ...members: string[]) => {
      podman('manifest', 'create', name);
      for (const member of members) podman('manifest', 'add', name, `docker://${member}`);
      return digest('manifest', 'push', '--quiet', name, `docker://${registry.host}/tools/${name}:1`);
    };
    const list = listOf('both', first, other);
    const foreign = listOf('foreign', other);
    podman('rmi', '--all', '--force');
    return { registry, manifest, list, foreign, other: otherDigest, damaged, id, podman, dispose };
  } catch (error) {
    await dispose();
    return `podman makes no containers here: ${String((error as { stderr?: unknown }).stderr ?? error).slice(-500)}`;
  }
}

function makeRoot(directory: string): string {
  const [root, tar] = [join(directory, 'root'), join(directory, 'root.tar')];
  for (const name of ['bin', 'etc', 'tmp', 'proc', 'dev', 'memoir']) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(programPath('busybox') as string, join(root, 'bin', 'busybox'));
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet));
  execFileSync('tar', ['-C', root, '-cf', tar, '.']);
  return tar;
}
