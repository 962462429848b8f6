import { basename, join } from 'node:path';

/** The places of one run, all in a directory that is made for it and removed after it. */
export type RunPlaces = {
  readonly directory: string;
  readonly tree: string;
  readonly output: string;
  readonly tmp: string;
  readonly parameters: string;
  /** There only for a job that has some. */
  readonly unhashed: string;
  readonly inputs: string;
  readonly inputsJson: string;
  /** There only while a script runs that is given some; it may be elsewhere than the others. */
  readonly secrets: string;
  /** The directory of the progress file, in which a script may put another in its place. */
  readonly progressDirectory: string;
  readonly progress: string;
  readonly log: string;
  /** The script's end of the log. */
  readonly pipe: string;
};

/** The places of a run in a directory, its secrets in one of that name in another, if there is one for them. */
export function placesIn(directory: string, secretsIn?: string): RunPlaces {
  const progressDirectory = join(directory, 'progress');
  return {
    directory,
    tree: join(directory, 'tree'),
    output: join(directory, 'output'),
    tmp: join(directory, 'tmp'),
    parameters: join(directory, 'parameters.json'),
    unhashed: join(directory, 'unhashed.json'),
    inputs: join(directory, 'inputs'),
    inputsJson: join(directory, 'inputs.json'),
    secrets: secretsIn === undefined ? join(directory, 'secrets') : join(secretsIn, basename(directory)),
    progressDirectory,
    progress: join(progressDirectory, 'progress.json'),
    log: join(directory, 'log.txt'),
    pipe: join(directory, 'log.pipe'),
  };
}
