import { MemoirError, quote } from '../../domain/errors.js';
import { type HashAlgorithm, isHex } from '../hash.js';
import type { ObjectType } from '../objects/object.js';
import type { Asking } from '../port.js';
import { damaged } from '../problem.js';
import type { Abbreviated, Peeled } from '../reader/object-reader.js';
import type { Ref } from '../refs.js';
import { type Base, parseRefspec, type Step } from './grammar.js';
import type { TextSearch } from './text-search.js';

/** What the resolver asks of a repository. */
export type RefspecSource = {
  readonly hash: HashAlgorithm;
  findRef(short: string): Ref | undefined;
  peel(id: string): Promise<Peeled | undefined>;
  typeOf(id: string): Promise<ObjectType | undefined>;
  /** Parents of a commit that the repository has. */
  parents(commit: string): Promise<readonly string[]>;
  /** The n-th first parent of a commit; undefined where history ends before. */
  ancestor(commit: string, generations: number): Promise<string | undefined>;
  /** Objects of a kind whose id begins with the digits; some of them if there are very many. */
  abbreviated(prefix: string, kind: Abbreviated): Promise<readonly string[]>;
  /** The youngest commit reachable from the given one, or from any ref, whose message answers the search. */
  search(search: TextSearch, from: string | undefined, asking: Asking | undefined): Promise<string | undefined>;
};

/** Fewest digits of an abbreviation, as in git. */
const shortestAbbreviation = 4;

/** Most candidates that an error lists. */
const mostCandidates = 10;

/**
 * The commit that a refspec names, as `git rev-parse --verify '<refspec>^{commit}'` has it.
 * @param field - request field to blame
 * @param asking - who asks, if that matters
 * @throws MemoirError INVALID_ARGUMENT: BAD_REFSPEC for a text that cannot name one commit, UNRESOLVABLE_REFSPEC for one that
 * does not here
 */
export async function resolveRefspec(
  source: RefspecSource,
  repository: string,
  text: string,
  { field, asking }: { readonly field: string; readonly asking?: Asking | undefined },
): Promise<string> {
  const refuse = (reason: string, what: string, metadata?: Record<string, string>) =>
    new MemoirError('INVALID_ARGUMENT', reason, `${field} ${quote(text)} ${what}`, {
      field,
      metadata: { repository, ...metadata },
    });
  const unresolvable = (what: string, metadata?: Record<string, string>) =>
    refuse('UNRESOLVABLE_REFSPEC', `${what} in repository ${quote(repository)}`, metadata);

  const parsed = parseRefspec(text);
  if ('problem' in parsed) throw refuse('BAD_REFSPEC', parsed.problem);

  let id = await start(parsed.base, parsed.steps[0]);
  for (const step of parsed.steps) id = await take(id, step);
  return commitOf(id);

  async function start(base: Base, first: Step | undefined): Promise<string> {
    if (base.kind === 'search') return found(await source.search(base.search, undefined, asking));
    const { name } = base;
    if (name.length === source.hash.hex && isHex(name)) return name.toLowerCase();
    const ref = source.findRef(name);
    if (ref) return ref.id;
    const described = /^.+-g([0-9A-Fa-f]+)$/.exec(name)?.[1];
    const digits = described ?? name;
    if (!isHex(digits) || digits.length < shortestAbbreviation || digits.length > source.hash.hex) {
      throw unresolvable('names no commit');
    }
    // What git looks for goes by what is asked of it first: of `^{}`, `^{object}` and `^{tag}` it says nothing.
    const anything = first?.kind === 'peel' && first.to !== 'commit';
    const kind = described === undefined ? (anything ? 'objects' : 'committish') : 'commits';
    const candidates = await source.abbreviated(digits.toLowerCase(), kind);
    const [only] = candidates;
    if (only === undefined) throw unresolvable('names no commit');
    if (candidates.length > 1) {
      const listed = candidates.slice(0, mostCandidates);
      const more = candidates.length > listed.length ? ', …' : '';
      throw unresolvable(`is ambiguous: ${listed.join(', ')}${more}`, { candidates: listed.join(' ') });
    }
    return only;
  }

  async function take(id: string, step: Step): Promise<string> {
    if (step.kind === 'peel') return step.to === 'commit' ? commitOf(id) : peel(id, step.to);
    const commit = await commitOf(id);
    if (step.kind === 'search') return found(await source.search(step.search, commit, asking));
    if (step.kind === 'ancestor') {
      const ancestor = await source.ancestor(commit, step.generations);
      if (ancestor === undefined) throw unresolvable(`goes back further than the history of ${commit}`);
      return ancestor;
    }
    if (step.number === 0) return commit;
    const parents = await source.parents(commit);
    const parent = parents[step.number - 1];
    if (parent === undefined)
      throw unresolvable(`asks for parent ${step.number} of ${commit}, which has ${parents.length}`);
    return parent;
  }

  async function peel(id: string, to: 'unpeelable' | 'object' | 'tag'): Promise<string> {
    if (to === 'unpeelable') return (await source.peel(id))?.id ?? missing(id);
    const type = (await source.typeOf(id)) ?? missing(id);
    if (to === 'tag' && type !== 'tag') throw unresolvable(`asks for a tag, but ${id} is a ${type}`);
    return id;
  }

  async function commitOf(id: string): Promise<string> {
    const peeled = (await source.peel(id)) ?? missing(id);
    if (peeled.type !== 'commit') throw unresolvable(`names the ${peeled.type} ${peeled.id}, not a commit,`);
    return peeled.id;
  }

  function missing(id: string): never {
    if (text.slice(0, id.length).toLowerCase() === id) throw unresolvable('names no commit');
    throw damaged(repository, `${field} ${quote(text)} leads to the object ${id}, which is missing`);
  }

  function found(commit: string | undefined): string {
    if (commit === undefined) throw unresolvable('finds no commit with such a message');
    return commit;
  }
}
