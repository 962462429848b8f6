import type { Assignment, AttributeFile, AttributeState } from './attribute-file.js';

/** The attributes of paths in a directory: those of its own file and of the files of the directories above it. */
export type Attributes = {
  /** What is said of attributes for a file of the directory, whose name is bytes as latin1; absent where nothing is. */
  of(baseName: string): ReadonlyMap<string, AttributeState>;
  /** Those of a directory in this one, with what its own file says, if it has one. */
  inside(name: string, file: AttributeFile | undefined): Attributes;
};

const noAttributes: ReadonlyMap<string, AttributeState> = new Map();

/** The one macro that git defines itself. */
const builtIn: ReadonlyMap<string, readonly Assignment[]> = new Map([
  ['binary', ['diff', 'merge', 'text'].map((name) => ({ name, state: false }))],
]);

type Level = { readonly file: AttributeFile; readonly prefix: string };

/** The attributes at the root of a tree, with what its file says, if it has one. Nothing else than the files of the tree is asked. */
export function rootAttributes(file: AttributeFile | undefined): Attributes {
  const macros = new Map([...builtIn, ...(file?.macros ?? [])]);
  return at('', file ? [{ file, prefix: '' }] : []);

  /** `levels` from the deepest to the root. */
  function at(directory: string, levels: readonly Level[]): Attributes {
    return {
      inside(name, own) {
        const prefix = `${directory}${name}/`;
        return at(prefix, own && own.rules.length > 0 ? [{ file: own, prefix }, ...levels] : levels);
      },
      of(baseName) {
        if (levels.length === 0) return noAttributes;
        const path = `${directory}${baseName}`;
        const found = new Map<string, AttributeState>();
        for (const { file, prefix } of levels) {
          const relative = path.slice(prefix.length);
          for (const { matches, assignments } of file.rules.toReversed())
            if (matches(relative, baseName)) assign(found, assignments);
        }
        return found;
      },
    };
  }

  /** The last word on an attribute counts, so what is there already stays. */
  function assign(found: Map<string, AttributeState>, assignments: readonly Assignment[]): void {
    for (const { name, state } of assignments.toReversed()) {
      if (found.has(name)) continue;
      found.set(name, state);
      const macro = state === true ? macros.get(name) : undefined;
      if (macro) assign(found, macro);
    }
  }
}
