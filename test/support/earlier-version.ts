import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

// An earlier version of Memoir, from the history of this repository, as a program.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const modules = join(root, 'node_modules');

/** A version that can be run. */
export type EarlierVersion = {
  /** Its `memoir`: a file for node. */
  readonly memoir: string;
  remove(): void;
};

/** Builds the version that a commit has, in some seconds, or gives undefined where this is no repository that has the commit. */
export async function buildEarlierVersion(commit: string): Promise<EarlierVersion | undefined> {
  const { status } = spawnSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: root, stdio: 'ignore' });
  if (status !== 0) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'memoir-earlier-'));
  const parts = ['src', 'projections', 'proto', 'buf.gen.yaml', 'buf.yaml', 'package.json'];
  const sources = execFileSync('git', ['archive', commit, ...parts], { cwd: root, maxBuffer: 256 * 1024 * 1024 });
  execFileSync('tar', ['-x', '-C', directory], { input: sources });
  symlinkSync(modules, join(directory, 'node_modules'));
  const path = [join(modules, '.bin'), process.env.PATH].join(delimiter);
  execFileSync('buf', ['generate'], { cwd: directory, env: { ...process.env, PATH: path }, stdio: 'pipe' });
  // Its types were checked when it was made.
  const entryPoints = ['src', 'projections', 'gen'].flatMap((part) =>
    readdirSync(join(directory, part), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => join(directory, part, file)),
  );
  await build({ entryPoints, outdir: join(directory, 'build'), outbase: directory, format: 'esm', target: 'node20' });
  return {
    memoir: join(directory, 'build/src/cli/main.js'),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
