import { styleText } from 'node:util';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { stateName } from '../../domain/job.js';
import { colourful } from './output.js';

type Format = Parameters<typeof styleText>[0];

const colours: Partial<Record<JobState, Format>> = {
  [JobState.QUEUED]: 'yellow',
  [JobState.RUNNING]: 'cyan',
  [JobState.COMPLETE]: 'green',
  [JobState.FAILED]: 'red',
  [JobState.CANCELLED]: 'magenta',
};

/** The text in a colour or weight where standard output shows such. The text must be printable already. */
export function styled(format: Format, text: string): string {
  return colourful(process.stdout) ? styleText(format, text) : text;
}

/** The state's name in its colour. */
export function stateText(state: JobState): string {
  const colour = colours[state];
  return colour ? styled(colour, stateName(state)) : stateName(state);
}
