import { join } from 'node:path';

/** The places of one run, all in a directory that is made for it and removed after it. */
export type RunPlaces = {
  readonly directory: string;
  readonly tree: string;
  readonly output: string;
  readonly tmp: string;
  readonly parameters: string;
  readonly inputs: string;
  readonly inputsJson: string;
  /** The directory of the progress file, in which a script may put another in its place. */
  readonly progressDirectory: string;
  readonly progress: string;
  readonly log: string;
  /** The script's end of the log. */
  readonly pipe: string;
};

/** The places of a run in a directory. */
export function placesIn(directory: string): RunPlaces {
  const progressDirectory = join(directory, 'progress');
  return {
    directory,
    tree: join(directory, 'tree'),
    output: join(directory, 'output'),
    tmp: join(directory, 'tmp'),
    parameters: join(directory, 'parameters.json'),
    inputs: join(directory, 'inputs'),
    inputsJson: join(directory, 'inputs.json'),
    progressDirectory,
    progress: join(progressDirectory, 'progress.json'),
    log: join(directory, 'log.txt'),
    pipe: join(directory, 'log.pipe'),
  };
}
