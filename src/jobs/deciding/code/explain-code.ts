import { create } from '@bufbuild/protobuf';
import { type Decision, ResolutionSchema, Rule } from '../../../../gen/memoir/jobs/v1/decision_pb.js';
import type { CodeEntry } from '../../../domain/code/code-digest.js';
import { quote } from '../../../domain/errors.js';
import type { CandidateFacts, ReuseDecision } from '../../../domain/reuse.js';
import type { CodeDifference } from '../../../git/code/first-difference.js';
import type { Repositories } from '../../../git/port.js';
import type { Wanted } from '../wanted.js';

/** Most commits whose code is compared for one explanation. */
const mostCompared = 100;

/**
 * The decision with what git has at the code paths of its request: the objects that they resolved to, and of each candidate whose code is another the
 * first path that differs. Nothing is changed of one for the whole commit.
 */
export async function withCode(
  repositories: Pick<Repositories, 'code' | 'codeDifference'>,
  { code, request: { repository } }: Pick<Wanted, 'code' | 'request'>,
  decision: Decision,
  { verdicts }: ReuseDecision<CandidateFacts>,
): Promise<Decision> {
  if (!code) return decision;
  const { entries } = code;
  const commits = new Map(
    verdicts.flatMap(({ candidate }) =>
      (candidate.repository ?? repository) === repository ? [[candidate.uuid, candidate.scriptVersion]] : [],
    ),
  );
  const told = new Map<string, string>();
  const candidates: Decision['candidates'] = [];
  for (const candidate of decision.candidates) {
    const commit = candidate.ruledOutBy === Rule.SCRIPT_VERSION ? commits.get(candidate.uuid) : undefined;
    if (commit !== undefined && !told.has(commit) && told.size < mostCompared) {
      told.set(commit, await differing(commit));
    }
    const more = commit === undefined ? '' : (told.get(commit) ?? '');
    candidates.push(more === '' ? candidate : { ...candidate, detail: `${candidate.detail}; ${more}` });
  }
  const objects = entries.map(({ path, mode, oid }) =>
    create(ResolutionSchema, { field: 'code_paths', given: path, resolved: `${mode} ${oid}` }),
  );
  return { ...decision, candidates, resolutions: [...decision.resolutions, ...objects] };

  /** How the code of a commit differs; empty if it does not, or that cannot be told now. */
  async function differing(commit: string): Promise<string> {
    const query = { commit, paths: entries.map(({ path }) => path), checked: false };
    const its = await repositories.code(repository, query).catch(() => undefined);
    if (its?.kind !== 'code') return '';
    for (const [i, ours] of entries.entries()) {
      const theirs = its.entries[i] as CodeEntry;
      if (theirs.oid === ours.oid && theirs.mode === ours.mode) continue;
      const first = await repositories.codeDifference(repository, theirs, ours);
      const objects = `${quote(ours.path)} is ${objectText(theirs)} there, and ${objectText(ours)} is accepted`;
      if (!first || first.path === ours.path) return objects;
      return `${objects}; the first path that differs is ${quote(first.path)}: ${differenceText(first)}`;
    }
    return '';
  }
}

function differenceText({ one, other }: CodeDifference): string {
  const [its, ours] = [one, other].map((it) => (it ? objectText(it) : 'nothing'));
  return `${its} there, ${ours} accepted`;
}

function objectText({ mode, oid }: Pick<CodeEntry, 'mode' | 'oid'>): string {
  return `${mode} ${oid}`;
}
