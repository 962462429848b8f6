import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';

/** What the rule on secrets looks at in a candidate. */
export type SecretFacts = {
  readonly state: JobState;
  /** Secrets that it is given, as `secretsText` has them; absent: none. */
  readonly secrets?: string;
};

/** What a request accepts of them. */
export type SecretTerms = {
  /** Secrets that it asks for, likewise, empty for none; absent: they are not looked at. */
  readonly secrets?: string;
  /** Whether nobody is known to have all of them for who requests; absent: no. */
  readonly secretsUngranted?: boolean;
};

/**
 * Whether a candidate was given, or is to be given, other secrets than the request asks for. Nobody comes to want an unfinished job whose secrets
 * are not granted to him, since no worker would be given it any more.
 */
export function bySecrets(
  { state, secrets: its = '' }: SecretFacts,
  { secrets: ours, secretsUngranted }: SecretTerms,
): { readonly rule: Rule; readonly detail: string } | undefined {
  if (ours === undefined) return undefined;
  if (its !== ours) {
    const [has, asked] = [its, ours].map((text) => (text === '' ? 'no secrets' : `the secrets ${text}`));
    return { rule: Rule.SECRETS, detail: `it asks for ${has}, the request for ${asked}` };
  }
  const unfinished = state === JobState.QUEUED || state === JobState.RUNNING;
  if (its === '' || !unfinished || !secretsUngranted) return undefined;
  return { rule: Rule.SECRETS, detail: `it is not finished, and no worker seen lately has ${its} for who requests` };
}
