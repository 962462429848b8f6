import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../errors.js';
import { bySecrets, type SecretFacts, type SecretTerms } from '../secrets/rule.js';
import { type AskedPlace, bubblewrap, type RanIn } from './ran-in.js';

/** What the rules on the place look at in a candidate. */
export type PlaceFacts = SecretFacts & {
  readonly state: JobState;
  readonly dockerImageLocator: string;
  /** What it asks of the place; absent: nothing. */
  readonly asked?: AskedPlace;
  /** What it ran in, as its worker stated; absent unless it is complete, and if nothing was stated. */
  readonly ranIn?: RanIn;
};

/** What a request accepts of the place. */
export type PlaceTerms = SecretTerms & {
  /** Whether a complete job that names an image must state that it ran there; absent: no. */
  readonly imagesStated?: boolean;
  /** Platform of the image that the request asks for; absent or empty: any. */
  readonly platform?: string;
  /** Sandbox that the request asks for; absent or empty: none. */
  readonly sandbox?: string;
};

type Out = { readonly rule: Rule; readonly detail: string };

/** Whether a candidate ran, or is to run, where the request asks for, and with what secrets. */
export function byPlace(candidate: PlaceFacts, terms: PlaceTerms): Out | undefined {
  return byPlatform(candidate, terms) ?? bySecrets(candidate, terms) ?? bySandbox(candidate, terms);
}

function byPlatform({ state, asked, ranIn }: PlaceFacts, { platform = '' }: PlaceTerms): Out | undefined {
  if (platform === '') return undefined;
  const complete = state === JobState.COMPLETE;
  const its = (complete ? ranIn?.platform : asked?.platform) ?? '';
  if (its === platform) return undefined;
  const verb = complete ? 'ran' : 'is to run';
  const where = its === '' ? `does not tell on which platform it ${verb}` : `${verb} on ${quote(its)}`;
  return { rule: Rule.PLATFORM, detail: `it ${where}, the request asks for ${quote(platform)}` };
}

/** An image is as good as a sandbox. */
function bySandbox(
  { state, dockerImageLocator, asked, ranIn }: PlaceFacts,
  { sandbox = '' }: PlaceTerms,
): Out | undefined {
  if (sandbox === '') return undefined;
  const complete = state === JobState.COMPLETE;
  const inImage = complete ? ranIn !== undefined && ranIn.image !== '' : dockerImageLocator !== '';
  const its = (complete ? ranIn?.sandbox : asked?.sandbox) ?? '';
  if (inImage || its === bubblewrap) return undefined;
  const what = complete ? 'ran' : 'may run';
  const how = its === '' ? 'in no sandbox' : `in ${quote(its)}`;
  return { rule: Rule.SANDBOX, detail: `it ${what} ${how}, the request asks for ${quote(sandbox)}` };
}

/** Whether a complete candidate that names an image ran there, as far as its worker stated. */
export function byRanImage({ dockerImageLocator, ranIn }: PlaceFacts, { imagesStated }: PlaceTerms): Out | undefined {
  if (!imagesStated || dockerImageLocator === '' || ranIn?.image === dockerImageLocator) return undefined;
  const named = quote(dockerImageLocator);
  const stated = ranIn?.image ? `states ${quote(ranIn.image)}` : 'does not state that it was there';
  return { rule: Rule.RAN_ELSEWHERE, detail: `it names the image ${named}, and its run ${stated}` };
}
