import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

// The second step of the build, after the compiler: what a process or a thread of Memoir begins with loads a few files of
// build/src/bundled instead of some hundred, which is most of the time that it takes to begin. Packages stay what they are. Whoever
// imports another file of build/, as the tests do, has it as the compiler made it.

const compiled = resolve('build');
const bundled = join(compiled, 'src/bundled');

/** Where the beginnings are as the compiler made them, by their paths: it does not write again what has not changed. */
const keptAt = join(compiled, 'beginnings.json');
const kept = existsSync(keptAt) ? JSON.parse(readFileSync(keptAt, 'utf8')) : {};

/** What stands where a beginning was: it loads the bundled file. */
function loader(file, text) {
  const [shebang] = /^#!.*\n/.exec(text) ?? [''];
  const path = relative(dirname(file), join(bundled, `${nameOf(file)}.js`));
  return `${shebang}import '${path.startsWith('.') ? path : `./${path}`}';\n`;
}

/** The text of a file as the compiler made it. */
function textOf(file) {
  const text = readFileSync(file, 'utf8');
  const before = kept[relative(compiled, file)];
  return before !== undefined && text === loader(file, before) ? before : text;
}

/** What is looked up beside the file that says so. */
const beside = /new URL\('(\.[^']+)', import\.meta\.url\)/g;

/** What begins threads is in a file that the source names in this way. */
function threads() {
  const files = ['src', 'projections'].flatMap((part) =>
    readdirSync(join(compiled, part), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.js'))
      .map((name) => join(compiled, part, name)),
  );
  return files.flatMap((file) =>
    [...textOf(file).matchAll(beside)]
      .map(([, path]) => resolve(dirname(file), path))
      .filter((path) => path.endsWith('.js')),
  );
}

/** What processes begin with: the command, and the server that tests kill. */
const processes = ['src/cli/main.js', 'test/support/server-child.js'].map((path) => join(compiled, path));

/** The name of a beginning among the bundled files. */
const nameOf = (file) => relative(compiled, file).replace(/\.js$/, '').replaceAll('/', '-');

/** A file stands elsewhere once it is bundled, what it looks up beside it does not. */
const besideItsSource = {
  name: 'beside its source',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, ({ path }) => {
      const source = textOf(path);
      const contents = source.replace(beside, (_, name) => {
        const found = relative(bundled, resolve(dirname(path), name));
        return `new URL('${found}', import.meta.url)`;
      });
      return { contents, loader: 'js', resolveDir: dirname(path) };
    });
  },
};

/**
 * Packages that are bundled too: those of many files that need nothing of where they are. grpc-js stays one for all that use it, and
 * what is native is found beside its own files.
 */
const ofManyFiles = new Set([
  '@bufbuild/protobuf',
  '@kurrent/kurrentdb-client',
  'canonicalize',
  'debug',
  'google-protobuf',
  'lru-cache',
  'ms',
  're2js',
  'semver',
  'smol-toml',
  'tinyqueue',
  'uuid',
  'zod',
]);
/** Whether a package is of CommonJS where a module imports it. */
const isCommonJs = (name) => {
  const path = fileURLToPath(import.meta.resolve(name));
  return /\.c?js$/.test(path) && !path.endsWith('.mjs') && typeOf(path) !== 'module';
};

/** What the package.json that a file belongs to says its `type` is. */
function typeOf(path) {
  for (let directory = dirname(path); ; directory = dirname(directory)) {
    const file = join(directory, 'package.json');
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')).type;
  }
}

/**
 * What is of CommonJS is required: of what a module imports Node.js would search every file for the names that it exports, which takes a
 * tenth of a second at each start.
 */
const packages = {
  name: 'packages',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[^./]/ }, ({ path, namespace, kind }) => {
      if (isBuiltin(path)) return { path, external: true };
      const [name] = /^(@[^/]+\/)?[^/]+/.exec(path) ?? [];
      if (ofManyFiles.has(name)) return undefined;
      if (namespace === 'required' || kind === 'require-call' || !isCommonJs(path)) return { path, external: true };
      return { path, namespace: 'required' };
    });
    onLoad({ filter: /./, namespace: 'required' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
      loader: 'js',
    }));
  },
};

/** The licence that a package comes under, in full; it goes where the package goes. */
function licenceIn(directory) {
  const file = readdirSync(directory).find((name) => /^licen[cs]e/i.test(name));
  if (file) return readFileSync(join(directory, file), 'utf8').trim();
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')).license;
}

rmSync(bundled, { recursive: true, force: true });
const beginnings = [...new Set([...threads(), ...processes])].filter((file) => existsSync(file));
const licences = new Map();
for (const file of beginnings) {
  const { metafile } = await build({
    entryPoints: [{ in: file, out: nameOf(file) }],
    outdir: bundled,
    bundle: true,
    // For what is loaded when it is wanted.
    splitting: true,
    chunkNames: `${nameOf(file)}-[hash]`,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    // For packages that are not modules of ECMAScript.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module';\nconst require = requireOf(import.meta.url);",
    },
    logLevel: 'warning',
    metafile: true,
    plugins: [besideItsSource, packages],
  });
  for (const input of Object.keys(metafile.inputs)) {
    const [directory, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input) ?? [];
    if (name && !licences.has(name)) licences.set(name, licenceIn(directory));
  }
}
const texts = Object.fromEntries(beginnings.map((file) => [relative(compiled, file), textOf(file)]));
writeFileSync(keptAt, JSON.stringify(texts));
for (const file of beginnings) writeFileSync(file, loader(file, texts[relative(compiled, file)]));
// What is compiled into a module of WebAssembly has its licences beside that.
const ofWebAssembly = readFileSync('src/git/objects/sha1-checked/LICENSES.txt', 'utf8');
writeFileSync(
  join(bundled, 'LICENSES.txt'),
  [...[...licences].map(([name, licence]) => `${name}\n\n${licence}\n`), ofWebAssembly].join('\n----\n\n'),
);
