import { posix } from 'node:path';

/** A part of the tree, and what it may import beside itself. */
type Layer = {
  readonly name: string;
  /** Paths from the root that belong to it: folders end in "/". The first layer with a path that fits is the file's. */
  readonly paths: readonly string[];
  /** Names of the layers that it may import; "*" for every one. */
  readonly imports: readonly string[];
  /** The only packages that it may import; all, if left out. */
  readonly packages?: readonly string[];
};

const inner = ['domain', 'gen', 'edge', 'files', 'threads'];

/** The layers from the inside out, as docs/architecture.md tells them. */
const layers: readonly Layer[] = [
  { name: 'gen', paths: ['gen/'], imports: [], packages: ['@bufbuild/protobuf'] },
  {
    name: 'domain',
    paths: ['src/domain/'],
    imports: ['gen'],
    // Pure: no files, no network, no clock.
    packages: ['@bufbuild/protobuf', 'canonicalize', 'node:crypto', 'picomatch', 're2js', 'uuid'],
  },
  { name: 'edge', paths: ['src/edge.ts', 'src/version.ts', 'src/file-lock.ts', 'src/make-directory.ts'], imports: [] },
  { name: 'files', paths: ['src/files/'], imports: ['domain'] },
  { name: 'threads', paths: ['src/threads/'], imports: ['domain'] },
  { name: 'config', paths: ['src/config.ts', 'src/config/'], imports: inner },
  { name: 'auth', paths: ['src/auth/'], imports: [...inner, 'config'] },
  { name: 'policy', paths: ['src/policy/'], imports: inner },
  { name: 'eventstore', paths: ['src/eventstore/'], imports: inner },
  { name: 'git', paths: ['src/git/'], imports: inner },
  { name: 'content', paths: ['src/content/'], imports: inner },
  { name: 'projections', paths: ['projections/'], imports: [...inner, 'eventstore'] },
  // What it needs of the layers above it stands in src/jobs/ports.
  { name: 'jobs', paths: ['src/jobs/'], imports: [...inner, 'content', 'eventstore', 'git', 'projections'] },
  { name: 'exclusions', paths: ['src/exclusions/'], imports: [...inner, 'eventstore', 'git', 'projections', 'jobs'] },
  {
    name: 'history',
    paths: ['src/history/'],
    imports: [...inner, 'eventstore', 'git', 'projections', 'jobs', 'exclusions'],
  },
  { name: 'images', paths: ['src/images/'], imports: [...inner, 'eventstore', 'projections', 'config', 'jobs'] },
  {
    name: 'rpc client',
    paths: [
      'src/rpc/client.ts',
      'src/rpc/call-error.ts',
      'src/rpc/claim-header.ts',
      'src/rpc/library-log.ts',
      'src/rpc/patience.ts',
      'src/rpc/wire/',
    ],
    imports: inner,
  },
  {
    name: 'rpc',
    paths: ['src/rpc/'],
    imports: [
      ...inner,
      'content',
      'eventstore',
      'git',
      'images',
      'projections',
      'jobs',
      'exclusions',
      'history',
      'rpc client',
    ],
  },
  { name: 'worker', paths: ['src/worker/'], imports: [...inner, 'content', 'git', 'config', 'rpc client'] },
  { name: 'main', paths: ['src/main.ts', 'src/serving/'], imports: ['*'] },
  {
    name: 'audit',
    paths: ['src/audit/'],
    imports: [...inner, 'eventstore', 'git', 'projections', 'jobs', 'exclusions', 'history'],
  },
  {
    name: 'serve',
    paths: [
      'src/cli/server/run-server.ts',
      'src/cli/server/reread-repositories.ts',
      'src/cli/audit/run-audit-decisions.ts',
      'src/cli/audit/run-audit-rebuild.ts',
      'src/cli/audit/run-audit-foreign.ts',
      'src/cli/audit/audited-store.ts',
    ],
    imports: [...inner, 'eventstore', 'git', 'config', 'audit', 'cli', 'log commands', 'main'],
  },
  {
    name: 'log commands',
    paths: ['src/cli/log/run-export.ts', 'src/cli/log/run-import.ts', 'src/cli/log/log-store.ts'],
    imports: [...inner, 'config', 'cli', 'eventstore'],
  },
  {
    name: 'verify',
    paths: ['src/cli/audit/run-verify.ts', 'src/cli/text/verify-text.ts'],
    imports: [...inner, 'config', 'cli', 'eventstore', 'projections', 'history', 'log commands'],
  },
  {
    name: 'cli',
    paths: ['src/cli/'],
    imports: [
      ...inner,
      'auth',
      'policy',
      'content',
      'git',
      'config',
      'rpc client',
      'worker',
      'serve',
      'log commands',
      'verify',
    ],
  },
  { name: 'outside', paths: ['test/', 'bench/', 'demo/', 'docs/'], imports: ['*'] },
];

/** Layers that nothing imports which may import everything: they are where programs begin. */
const outermost = ['cli', 'serve', 'log commands', 'verify', 'outside'];

/** What some files alone import, and the others have through them. */
const reserved: readonly {
  readonly from: RegExp;
  readonly names: RegExp;
  readonly files: readonly string[];
  readonly rule: string;
}[] = [
  {
    from: /^node:worker_threads$/,
    names: /./,
    files: [
      'src/threads/thread.ts',
      'src/threads/serve-thread.ts',
      'src/threads/let-go.ts',
      'src/eventstore/sqlite/writer.ts',
      'src/eventstore/sqlite/writer-thread.ts',
    ],
    rule: 'threads are started and served by src/threads',
  },
  {
    from: /^node:fs(\/promises)?$/,
    names: /\b(rename|link)(Sync)?\b/,
    // Those behind the first move what is there, or give it one more name, and write nothing.
    files: [
      'src/files/durable-file.ts',
      'src/worker/pipes.ts',
      'src/worker/work-directory.ts',
      'src/worker/remove-tree.ts',
      'src/worker/run/kept-checkouts.ts',
      'src/worker/inputs/stage-inputs.ts',
      'projections/running/kept-file.ts',
      'projections/running/kept-files.ts',
    ],
    rule: 'what is written aside gets its name by src/files/durable-file.ts',
  },
];

/** Most lines of a file, tests and generated ones excepted. */
const maxLines = 400;

/** Most files that lie in one folder of the sources themselves. */
const maxFiles = 24;

/** Folders whose files may be as long and as many as they are. */
const unmeasured = /^(gen|test|bench)\//;

/** What is wrong with a file. */
export type Problem = {
  readonly file: string;
  /** What it imports, as it is written there; absent if it is not an import that is wrong. */
  readonly specifier?: string;
  readonly rule: string;
};

/** The problem as a line for people. */
export function problemText({ file, specifier, rule }: Problem): string {
  return specifier === undefined ? `${file}: ${rule}` : `${file} imports ${specifier}: ${rule}`;
}

/** Everything that the sources, texts by their path from the root with "/" between its parts, have against the rules. */
export function checkSources(sources: ReadonlyMap<string, string>): Problem[] {
  const problems: Problem[] = [];
  const graph = new Map<string, string[]>();
  for (const [file, text] of sources) {
    const layer = layerOf(file);
    if (!layer) {
      problems.push({ file, rule: 'it belongs to no layer; see test/layers/rules.ts' });
      continue;
    }
    const lines = text.split('\n').length - 1;
    if (lines > maxLines && !unmeasured.test(file)) {
      problems.push({ file, rule: `it has ${lines} lines, more than ${maxLines}` });
    }
    const imported: string[] = [];
    for (const specifier of importsOf(text)) {
      const rule = ruleAgainst(file, layer, specifier, sources);
      if (rule) problems.push({ file, specifier, rule });
      if (specifier.startsWith('.')) imported.push(sourceOf(file, specifier));
    }
    graph.set(file, imported);
    if (layer.name !== 'outside') problems.push(...reservedTo(file, text));
  }
  return [...problems, ...fullFolders(sources.keys()), ...circles(graph)];
}

/** What a file imports that is for others. */
function* reservedTo(file: string, text: string): Generator<Problem> {
  for (const [, names = '', specifier = ''] of text.matchAll(/^import\s+([^;'"]+?)\s+from\s+'([^']+)'/gm)) {
    for (const { from, names: taken, files, rule } of reserved) {
      if (from.test(specifier) && taken.test(names) && !files.includes(file)) yield { file, specifier, rule };
    }
  }
}

/** Folders that want rooms. */
function fullFolders(files: Iterable<string>): Problem[] {
  const counts = new Map<string, number>();
  for (const file of files) {
    if (unmeasured.test(file)) continue;
    const folder = posix.dirname(file);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count > maxFiles)
    .map(([folder, count]) => ({ file: folder, rule: `${count} files lie in it, more than ${maxFiles}` }));
}

function ruleAgainst(
  file: string,
  layer: Layer,
  specifier: string,
  sources: ReadonlyMap<string, string>,
): string | undefined {
  if (!specifier.startsWith('.')) {
    const allowed = layer.packages?.some((name) => specifier === name || specifier.startsWith(`${name}/`)) ?? true;
    return allowed ? undefined : `${layer.name} may import only the packages ${layer.packages?.join(', ')}`;
  }
  const target = sourceOf(file, specifier);
  if (!sources.has(target)) return `there is no ${target}`;
  const other = layerOf(target);
  if (!other || other === layer || layer.imports.includes(other.name)) return undefined;
  if (layer.imports.includes('*') && (layer.name === 'outside' || !outermost.includes(other.name))) return undefined;
  const may = layer.imports.length > 0 ? `only ${layer.imports.join(', ')}` : 'no other layer';
  return `${layer.name} may import ${may}, not ${other.name}`;
}

function layerOf(file: string): Layer | undefined {
  return layers.find(({ paths }) => paths.some((path) => (path.endsWith('/') ? file.startsWith(path) : file === path)));
}

function sourceOf(file: string, specifier: string): string {
  return posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts');
}

/** What a source imports: statically, dynamically, or as the file of a thread. Comments and other strings are passed over. */
export function importsOf(text: string): string[] {
  const code = text.replace(/^\s*\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const forms = [
    /^\s*(?:import|export)\s+(?:type\s+)?(?:[\w$*{}\s,]+?\s+from\s+)?['"]([^'"]+)['"]/gm,
    /\bimport\(\s*['"]([^'"]+)['"]/g,
    /\bnew URL\(\s*['"](\.[^'"]+\.js)['"],\s*import\.meta\.url/g,
  ];
  return forms.flatMap((form) => Array.from(code.matchAll(form), ([, specifier]) => specifier as string));
}

/**
 * Circles of imports, those of types alone included, each knot of them once with its shortest circle. Knots are strongly connected
 * components, found by Tarjan's algorithm (1972).
 */
function circles(graph: ReadonlyMap<string, readonly string[]>): Problem[] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const problems: Problem[] = [];
  function visit(file: string): void {
    index.set(file, index.size);
    low.set(file, index.get(file) as number);
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!index.has(next)) visit(next);
      else if (!stack.includes(next)) continue;
      low.set(file, Math.min(low.get(file) as number, low.get(next) as number));
    }
    if (low.get(file) !== index.get(file)) return;
    const knot = stack.splice(stack.indexOf(file));
    if (knot.length > 1 || graph.get(file)?.includes(file)) {
      problems.push({ file, rule: `it is in a circle of imports: ${shortestCircle(file, knot, graph).join(' → ')}` });
    }
  }
  for (const file of graph.keys()) if (!index.has(file)) visit(file);
  return problems;
}

/** The shortest way from a file of a knot back to itself, found breadth first. */
function shortestCircle(
  file: string,
  knot: readonly string[],
  graph: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  const from = new Map<string, string>();
  const queue = [file];
  for (const at of queue) {
    for (const next of graph.get(at) ?? []) {
      if (next === file) {
        const chain = [file];
        for (let back = at; back !== file; back = from.get(back) as string) chain.unshift(back);
        return [file, ...chain];
      }
      if (!knot.includes(next) || from.has(next)) continue;
      from.set(next, at);
      queue.push(next);
    }
  }
  return knot;
}
