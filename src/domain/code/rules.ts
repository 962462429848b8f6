import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';

/** What the rules on code look at in a candidate. */
export type CodeFacts = {
  readonly scriptVersion: string;
  /** Its code paths, as `codePathsText` gives them; absent or empty: the whole commit. */
  readonly codePaths?: string;
  /** What its commit has there; absent or empty without code paths. */
  readonly codeDigest?: string;
};

/** What a request accepts of code. */
export type CodeTerms = {
  /** Whether a commit is accepted. */
  readonly acceptsCommit: (commit: string) => boolean;
  /** The accepted commits, for people. */
  readonly acceptedCommits: string;
  /** The code paths of the request, as `codePathsText` gives them; absent or empty: the whole commit. */
  readonly codePaths?: string;
  /** What the request's own commit has there: the same is accepted whatever the commit. Absent without code paths. */
  readonly codeDigest?: string;
  /** What the commits have there that the request excludes: the same is not accepted, whatever the commit. */
  readonly excludedCode?: ReadonlySet<string>;
};

type RuledOut = { readonly rule: Rule; readonly detail: string };

/** Rules out who saw, or is to see, another part of its commit. */
export function byCodePaths(
  { codePaths: its = '' }: CodeFacts,
  { codePaths: ours = '' }: CodeTerms,
): RuledOut | undefined {
  if (its === ours) return undefined;
  const [sees, asked] = [its, ours].map((text) => (text === '' ? 'the whole commit' : text));
  return { rule: Rule.CODE_PATHS, detail: `it sees ${sees}, the request ${asked}` };
}

/** Rules out whose commit is not accepted, unless it has the same code at the paths of the request, which are its own too. */
export function byScriptVersion(candidate: CodeFacts, terms: CodeTerms): RuledOut | undefined {
  const { scriptVersion, codeDigest: code = '' } = candidate;
  const { codeDigest: accepted, excludedCode, acceptedCommits } = terms;
  if (accepted === undefined) {
    if (terms.acceptsCommit(scriptVersion)) return undefined;
    return out(`its script_version is ${scriptVersion}, accepted is ${acceptedCommits}`);
  }
  if (excludedCode?.has(code)) {
    return out(
      `its script_version is ${scriptVersion}, whose code ${code} is that of a commit that the request excludes`,
    );
  }
  if (code === accepted || terms.acceptsCommit(scriptVersion)) return undefined;
  return out(
    `its script_version is ${scriptVersion} with code ${code}, accepted is ${acceptedCommits}, or code ${accepted}`,
  );
}

/** Whether a candidate, which is accepted, is so for its code alone. */
export function isByCodeAlone({ scriptVersion, codeDigest }: CodeFacts, terms: CodeTerms): boolean {
  return terms.codeDigest !== undefined && codeDigest === terms.codeDigest && !terms.acceptsCommit(scriptVersion);
}

function out(detail: string): RuledOut {
  return { rule: Rule.SCRIPT_VERSION, detail };
}
