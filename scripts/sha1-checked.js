import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';

// Compiles src/git/objects/sha1-checked to WebAssembly and writes what the server loads of it. Wants Rust with the target
// wasm32-unknown-unknown; nobody else who builds Memoir does.
//
//     node scripts/sha1-checked.js [DIRECTORY]     writes wasm.ts and LICENSES.txt there, or else where they belong

const source = fileURLToPath(new URL('../src/git/objects/sha1-checked', import.meta.url));
const target = 'wasm32-unknown-unknown';
const directory = process.argv[2] ?? source;
const scratch = mkdtempSync(join(tmpdir(), 'memoir-sha1-checked-'));

const run = (program, ...args) =>
  execFileSync(program, args, {
    cwd: source,
    encoding: 'utf8',
    env: { ...process.env, CARGO_TARGET_DIR: scratch, RUSTFLAGS: '' },
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  });

/** Name, version and licence in full of all crates that are compiled in. */
function licences() {
  const { packages } = JSON.parse(
    run('cargo', 'metadata', '--locked', '--format-version=1', '--filter-platform', target),
  );
  const tree = run('cargo', 'tree', '--locked', '--target', target, '--edges=normal', '--prefix=none', '--format={p}');
  const compiled = new Set(tree.split('\n').map((line) => line.replace(/ v([^ ]+).*/, ' $1')));
  return packages
    .filter(({ name, version, source }) => source !== null && compiled.has(`${name} ${version}`))
    .map(({ name, version, manifest_path }) => {
      const files = readdirSync(dirname(manifest_path));
      const file = files.find((one) => /^licen[cs]e-mit/i.test(one)) ?? files.find((one) => /^licen[cs]e/i.test(one));
      return `${name} ${version}\n\n${readFileSync(join(dirname(manifest_path), file), 'utf8').trim()}\n`;
    })
    .join('\n----\n\n');
}

try {
  const compiler = run('rustc', '--version').trim();
  run('cargo', 'build', '--locked', '--quiet', '--release', '--target', target);
  const wasm = readFileSync(join(scratch, target, 'release/memoir_sha1_checked.wasm'));
  const text = deflateRawSync(wasm, { level: 9 }).toString('base64');
  writeFileSync(
    join(directory, 'wasm.ts'),
    `// Written by scripts/sha1-checked.js from src/lib.rs.

/** What compiled it: another one makes other bytes of it. */
export const compiler = '${compiler}';

/** The module of WebAssembly, deflated without a header (RFC 1951), in base 64. */
export const deflated = \`
${text.replace(/.{1,116}/g, '$&\n')}\`;
`,
  );
  writeFileSync(join(directory, 'LICENSES.txt'), licences());
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
