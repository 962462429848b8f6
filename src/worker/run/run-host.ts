import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RanSchema } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import type { Ended } from '../process-group.js';
import type { RunPlaces } from './run-places.js';
import type { ScriptPaths } from './script-paths.js';

/** What an attempt ran in and took, as far as it is known. */
export type RanSoFar = Mutable<Pick<MessageInitShape<typeof RanSchema>, keyof Known>> & {
  phases: { staged?: Lasted; started?: Lasted; ran?: Lasted; stored?: Lasted };
};
type Known = {
  image: unknown;
  runtime: unknown;
  runtimeVersion: unknown;
  sandbox: unknown;
  peakRamBytes: unknown;
  cpuTime: unknown;
  stagedBytes: unknown;
  storedBytes: unknown;
};
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Lasted = { seconds: bigint; nanos: number };

/** A script to run, and what it is given. */
export type HostedScript = {
  /** Path of the script's file in the checkout. */
  readonly path: string;
  readonly places: RunPlaces;
  /** Variables that every script gets. */
  readonly environment: Readonly<Record<string, string>>;
  /** Variables of this run. */
  readonly own: Readonly<Record<string, string>>;
  /** File descriptor of standard input. */
  readonly stdin: number;
  /** File descriptor of standard output and standard error. */
  readonly output: number;
  /** Told the number of a process that a worker which finds it must end. */
  readonly onStart: (pid: number) => void;
  /** Awaited when all of the places are as the script finds them, before it begins. */
  readonly onReady: () => Promise<void>;
  /** Told when the script begins. */
  readonly onBegin: () => void;
  /** What it is bounded by. */
  readonly bounds: Bounds;
};

/** What a run may take. */
export type Bounds = {
  readonly cores: number;
  /** Main memory, in MiB. */
  readonly ramMb: number;
  /** Whether the job asked for so much memory. */
  readonly ramAsked: boolean;
  /** Scratch disk that the job asked for, in MiB; 0 if it asked for none. */
  readonly scratchMb: number;
  readonly processes: number;
};

/** How a script ended. */
export type Hosted = Ended & {
  /** How many of its processes were killed since there was no memory for them. */
  readonly killedForMemory: number;
  /** What could not make the place in which it was to be run, as it says at the end of the log; absent if it ran. */
  readonly refusedBy?: string;
  /** What it took. */
  readonly peakRamBytes?: bigint | undefined;
  readonly cpuMs?: number | undefined;
};

/** What a script is run in. */
export type RunHost = {
  readonly paths: ScriptPaths;
  /** What is known before it runs. */
  readonly ran: Pick<RanSoFar, 'image' | 'runtime' | 'runtimeVersion' | 'sandbox'>;
  /**
   * Runs it until it ends. When the signal aborts, it gets SIGTERM, and after `graceMs` all of it is killed. Nothing of it is left then.
   * @throws RunFailure if it cannot be run
   */
  run(script: HostedScript, signal: AbortSignal, graceMs: number): Promise<Hosted>;
};
