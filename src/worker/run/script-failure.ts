import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../../domain/errors.js';
import { RunFailure, runtimePlace } from '../run-failure.js';
import type { RunLog } from '../run-log.js';
import type { Ran, ScriptSettings } from '../run-script.js';
import type { Bounds } from './run-host.js';
import { insidePaths } from './script-paths.js';

/** Why a run that has ended has no result, by what its script did; undefined if it ended well. */
export async function scriptFailure(
  job: Job,
  ended: Ran,
  log: RunLog,
  { environment, bounds }: Pick<ScriptSettings, 'environment'> & { readonly bounds: (job: Job) => Bounds },
): Promise<RunFailure | undefined> {
  const script = quote(job.script);
  if (ended.refusedBy !== undefined) {
    const why = await lastLine(log);
    return new RunFailure(
      'CONTAINER_NOT_RUN',
      `${ended.refusedBy} could not run the image: ${why}`,
      Fault.PLACE,
      runtimePlace,
    );
  }
  if (ended.killedForMemory > 0) {
    // Whatever the script says of its end: what was killed may have been a part of the work.
    const killed = ended.killedForMemory === 1 ? 'a process' : `${ended.killedForMemory} processes`;
    const took = ended.peakRamBytes === undefined ? '' : `; it took ${mebibytes(ended.peakRamBytes)} MiB at most`;
    const message = `${killed} of ${script} had no memory left and was killed; it may have ${bounds(job).ramMb} MiB${took}`;
    return new RunFailure('OUT_OF_MEMORY', message);
  }
  if (ended.code === 0) return undefined;
  if (ended.inside.startsWith(`${insidePaths.tree}/`) && ended.signal === null) {
    const why = await notRunInside(ended.inside, log);
    if (why !== undefined)
      return new RunFailure(
        'SCRIPT_NOT_EXECUTABLE',
        `${script} cannot be run in the ${job.dockerImageLocator === '' ? 'sandbox' : 'image'}: ${why}`,
      );
  }
  return new RunFailure('SCRIPT_FAILED', `${script} ${endText(ended, environment)}`);
}

const mebibytes = (bytes: bigint) => Math.ceil(Number(bytes) / 1024 ** 2);

function endText({ code, signal }: Ran, { PATH }: Readonly<Record<string, string>>): string {
  if (signal !== null) return `was ended by ${signal}`;
  // What shells and env(1) say of a program that they do not find.
  const hint = code === 127 ? `, which means that a program was not found; its PATH is ${quote(PATH ?? '')}` : '';
  return `exited with code ${code}${hint}`;
}

/** What runtimes say, as the last line, of a file that the system of the image does not run. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [/no such file or directory$/i, 'the interpreter that its first line names does not exist there'],
  [/permission denied$/i, 'the interpreter that its first line names may not be run there'],
  [/exec format error$/i, 'the system refuses it (ENOEXEC)'],
];

async function notRunInside(path: string, log: RunLog): Promise<string | undefined> {
  const last = await lastLine(log);
  // runc, and others, say "exec", bubblewrap "execvp", prlimit "failed to execute".
  if (!/exec/.test(last) || !(last.includes(` ${path}:`) || last.includes(`"${path}"`))) return undefined;
  return refusals.find(([pattern]) => pattern.test(last.replaceAll(/[."]+$/g, '')))?.[1];
}

/** What docker says below an error. */
const help = /^(See|Run) 'docker run --help'/;

async function lastLine({ file }: RunLog): Promise<string> {
  const { size } = await file.stat();
  const length = Math.min(size, 4_096);
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
  const lines = buffer.toString('utf8').trimEnd().split('\n');
  return lines.findLast((line) => line !== '' && !help.test(line)) ?? '';
}
