import type { RunPlaces } from './run-places.js';

/** Where a script finds what it is given. */
export type ScriptPaths = {
  readonly tree: string;
  readonly output: string;
  readonly tmp: string;
  readonly inputs: string;
  readonly inputsJson: string;
  readonly secrets: string;
  readonly parameters: string;
  readonly unhashed: string;
  readonly progress: string;
};

/** The paths in a container or a sandbox: the same in every run, on every worker. */
export const insidePaths: ScriptPaths = {
  tree: '/memoir/tree',
  output: '/memoir/output',
  tmp: '/memoir/tmp',
  inputs: '/memoir/inputs',
  inputsJson: '/memoir/inputs.json',
  secrets: '/memoir/secrets',
  parameters: '/memoir/parameters.json',
  unhashed: '/memoir/unhashed.json',
  progress: '/memoir/progress/progress.json',
};

/** The directory of the progress file there. */
export const insideProgress = '/memoir/progress';

/** Those of a script that is run as any other process. */
export function hostPaths(places: RunPlaces): ScriptPaths {
  const { tree, output, tmp, inputs, inputsJson, secrets, parameters, unhashed, progress } = places;
  return { tree, output, tmp, inputs, inputsJson, secrets, parameters, unhashed, progress };
}

/** The variables that tell a script of them. */
export function pathVariables({ output, tmp, parameters, progress }: ScriptPaths): Record<string, string> {
  return {
    HOME: tmp,
    TMPDIR: tmp,
    MEMOIR_PARAMETERS: parameters,
    MEMOIR_OUTPUT: output,
    MEMOIR_PROGRESS: progress,
    MEMOIR_TMP: tmp,
  };
}
