import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../errors.js';

/** What the rule on inputs looks at in a candidate. */
export type InputFacts = {
  readonly state: JobState;
  /** Position of the event that requested it; absent where it is not known, and then the rule does not apply. */
  readonly requested?: number;
  /** JSON pointers of its parameters that are inputs; absent: of none. */
  readonly inputs?: ReadonlySet<string>;
};

/** A parameter that would be an input of the job if one were made. */
export type WantedInput = {
  /** Where it stands, as a JSON pointer. */
  readonly pointer: string;
  /** SHA-256 of the content that it names. */
  readonly hash: string;
  /** Position of the event that said first that servers keep that content. */
  readonly since: number;
};

/** What a request accepts of the inputs of a candidate. */
export type InputTerms = {
  /** Those that a candidate must have had if it was requested when their content was known; absent: none. */
  readonly inputs?: readonly WantedInput[];
};

/**
 * The first input that a candidate is without although its content was known when it was requested: whoever requested it could not know of that
 * content, so that its run was given the text alone. One that was requested before had no choice, and counts as it always did.
 */
export function lackedInput(
  { requested, inputs }: Omit<InputFacts, 'state'>,
  wanted: readonly WantedInput[],
): WantedInput | undefined {
  if (requested === undefined) return undefined;
  return wanted.find(({ pointer, since }) => since < requested && !inputs?.has(pointer));
}

/** Of the wanted inputs those that rule a candidate out, in their order: the rest do not matter for the decision. */
export function decidingInputs(
  candidates: readonly InputFacts[],
  wanted: readonly WantedInput[],
): readonly WantedInput[] {
  const lacked = new Set(candidates.map((candidate) => lackedInput(candidate, wanted)));
  return wanted.filter((one) => lacked.has(one));
}

/** Whether a candidate ran, or is to run, without an input of the request. */
export function byInputs(
  candidate: InputFacts,
  { inputs }: InputTerms,
): { readonly rule: Rule; readonly detail: string } | undefined {
  const lacked = inputs && lackedInput(candidate, inputs);
  if (!lacked) return undefined;
  const { state } = candidate;
  const ran = state === JobState.QUEUED ? 'is to run' : state === JobState.RUNNING ? 'runs' : 'ran';
  return { rule: Rule.INPUTS, detail: `it ${ran} without the input at ${quote(lacked.pointer)}` };
}

/** Whether two jobs with the same parameters are given the same inputs. */
export function isSameInputs(
  { inputs: one }: Pick<InputFacts, 'inputs'>,
  { inputs: other }: Pick<InputFacts, 'inputs'>,
): boolean {
  if (one === other) return true;
  if ((one?.size ?? 0) !== (other?.size ?? 0)) return false;
  for (const pointer of one ?? []) if (!other?.has(pointer)) return false;
  return true;
}

/** Pointers of inputs as the reuse index keeps them: JSON; empty for none. */
export function inputPointersText(inputs: readonly { readonly pointer: string }[]): string {
  return inputs.length === 0 ? '' : JSON.stringify(inputs.map(({ pointer }) => pointer));
}

/** The same as facts; undefined for none. */
export function inputPointersOf(text: string): ReadonlySet<string> | undefined {
  return text === '' ? undefined : new Set(JSON.parse(text) as string[]);
}
