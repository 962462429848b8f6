import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';

/** What the rule looks at in a candidate. */
export type SupersedingFacts = {
  readonly uuid: string;
  readonly state: JobState;
  readonly scriptVersion: string;
  readonly codeDigest?: string;
  readonly dockerImageLocator: string;
  readonly arvadosSdkVersion: string;
  /** Whether it was asked for to be the answer in the place of earlier runs; absent: no. */
  readonly supersedes?: boolean;
  /** Digest of the computation that it is a run of; absent where all candidates are runs of one. */
  readonly computation?: string;
};

/** What a request accepts. */
export type SupersedingTerms = {
  /** Whether the request asks for a run that is the answer in the place of earlier ones; absent: no. */
  readonly supersede?: boolean;
  readonly arvadosSdkVersion: string;
};

type Out = { readonly rule: Rule; readonly detail: string };

/**
 * Whether a request that asks for a run in the place of earlier ones passes a candidate over: all but an unfinished one that was asked for in the
 * same way. Commit, code and image are equal by earlier rules, and the SDK is where the request names one.
 */
export function bySupersedingRequest(
  { state, supersedes, arvadosSdkVersion }: SupersedingFacts,
  terms: SupersedingTerms,
): Out | undefined {
  if (!terms.supersede) return undefined;
  if (state === JobState.COMPLETE) return out('the request asks for a run in its place');
  if (!supersedes) return out('the request asks for a run in the place of earlier ones, and it is none');
  return arvadosSdkVersion === terms.arvadosSdkVersion
    ? undefined
    : out('it asks for an Arvados SDK, and the request for none');
}

/** Which of the candidates stand in the place of which. */
export type Superseding<C> = {
  /** The candidate in whose place a later one stands, that is accepted by all earlier rules; undefined if none does. */
  readonly by: (candidate: C) => C | undefined;
  /** Whether one of the two was asked for to be the answer in the place of the other, whatever became of it. */
  readonly isApart: (one: C, other: C) => boolean;
};

/**
 * Looks for those that were asked for in the place of earlier runs of the same computation, code, image and SDK; undefined if there are none.
 * @param candidates - in the order of their runs
 * @param isAccepted - whether no earlier rule rules a candidate out
 */
export function superseding<C extends SupersedingFacts>(
  candidates: readonly C[],
  isAccepted: (candidate: C, place: number) => boolean,
): Superseding<C> | undefined {
  if (!candidates.some(({ supersedes }) => supersedes)) return undefined;
  const places = new Map(candidates.map((candidate, place) => [candidate, place]));
  const last = new Map<string, C>();
  for (const [place, candidate] of candidates.entries()) {
    const { supersedes, state } = candidate;
    if (supersedes && state === JobState.COMPLETE && isAccepted(candidate, place))
      last.set(workOf(candidate), candidate);
  }
  const placeOf = (candidate: C) => places.get(candidate) as number;
  return {
    by(candidate) {
      const one = last.get(workOf(candidate));
      return one && placeOf(candidate) < placeOf(one) ? one : undefined;
    },
    isApart(one, other) {
      const later = placeOf(one) > placeOf(other) ? one : other;
      return later.supersedes === true && workOf(one) === workOf(other);
    },
  };
}

/** What is told of a complete candidate in whose place another stands. */
export function supersededBy({ uuid }: SupersedingFacts): Out {
  return out(`${uuid}, which was asked for in its place, is Complete`);
}

/** What two runs have in common of which the later may stand in the place of the earlier: with code paths what is there, else the commit. */
function workOf(candidate: SupersedingFacts): string {
  const { computation = '', scriptVersion, codeDigest = '', dockerImageLocator, arvadosSdkVersion } = candidate;
  const code = codeDigest === '' ? scriptVersion : `code ${codeDigest}`;
  return JSON.stringify([computation, code, dockerImageLocator, arvadosSdkVersion]);
}

function out(detail: string): Out {
  return { rule: Rule.SUPERSEDED, detail };
}
