import { create } from '@bufbuild/protobuf';
import {
  AddedPlaceSchema,
  AddRepositoryResponseSchema,
  CodeEntrySchema,
  ExpandRangeResponseSchema,
  type GetCodeRequest,
  GetCodeResponseSchema,
  ListRepositoriesResponseSchema,
  RemoveRepositoryResponseSchema,
  type RepositoriesService,
  type Repository,
  RepositorySchema,
  ResolveRefspecResponseSchema,
} from '../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { normalCodePaths, wholeTree } from '../domain/code/code-paths.js';
import { invalid, MemoirError } from '../domain/errors.js';
import type { RangeQuery } from '../git/port.js';
import type { Caller } from '../jobs/caller.js';
import type { JobsContext } from '../jobs/context.js';
import { codeOf } from '../jobs/deciding/code/wanted-code.js';
import { checkLength, checkRequired, checkUuid, textLimits } from '../jobs/limits.js';
import { checkKnows } from '../jobs/reading/permit.js';
import type { AddRepositories } from '../jobs/repositories/add-repository.js';
import type { Implementation } from './service.js';
import { tokenOf } from './tokens.js';

/** Commits in one message of ExpandRange. */
const commitsPerMessage = 1_000;

/** Most refspecs to leave out of a range. */
const maxExcludes = 1_000;

/** memoir.repositories.v1.RepositoriesService. */
export function repositoriesService(
  context: RepositoriesContext,
  added: AddRepositories,
): Implementation<typeof RepositoriesService> {
  const { repositories, codePaths, readModel } = context;

  /** Of which commit, and at which paths, the code is asked for. */
  async function place(caller: Caller, request: GetCodeRequest): Promise<CodePlace> {
    const given = normalCodePaths(request.codePaths);
    if (request.uuid !== '') {
      if (request.repository !== '' || request.refspec !== '') {
        throw invalid('uuid', 'BAD_OPTIONS', 'uuid and repository with refspec cannot be given together');
      }
      const { job } = await context.streams.read(caller, checkUuid('uuid', request.uuid));
      const { repository, scriptVersion: commit } = job;
      // Its own paths are a part of the job, others of its repository.
      if (given.length === 0 && job.codePaths.length > 0) return { repository, commit, paths: job.codePaths };
      checkKnows(caller, repository);
      return { repository, commit, paths: pathsOf(repository, given) };
    }
    const { repository, refspec } = request;
    checkRequired('repository', repository, textLimits.repository);
    checkRequired('refspec', refspec, textLimits.refspec);
    checkKnows(caller, repository);
    const commit = await repositories.askedBy(caller).resolve(repository, refspec, { field: 'refspec' });
    return { repository, commit, paths: pathsOf(repository, given) };
  }

  /** Where it is, is for who administers it. */
  async function described(caller: Caller, name: string): Promise<Repository> {
    const repository = await describe(context, name);
    const found = caller.access.administers(name) ? added.added(name) : undefined;
    if (found) {
      const { place, epoch, addedBy } = found;
      repository.added = create(AddedPlaceSchema, { ...place, epoch, addedBy });
    }
    return repository;
  }

  function pathsOf(repository: string, given: readonly string[]): readonly string[] {
    return given.length > 0 ? given : (codePaths?.get(repository) ?? [wholeTree]);
  }

  return {
    async listRepositories(_request, { caller }) {
      const names = repositories.names().filter((name) => caller.access.knows(name));
      const listed = await Promise.all(names.map((name) => described(caller, name)));
      return create(ListRepositoriesResponseSchema, { repositories: listed });
    },

    async addRepository({ name, path, url, credential, replace }, { caller }) {
      checkRequired('name', name, textLimits.repository);
      const position = await added.add(caller, { name, path, url, credential, replace });
      const repository = await described(caller, name);
      return create(AddRepositoryResponseSchema, { repository, consistencyToken: tokenOf(readModel, position) });
    },

    async removeRepository({ name }, { caller }) {
      checkRequired('name', name, textLimits.repository);
      const position = await added.remove(caller, name);
      return create(RemoveRepositoryResponseSchema, { consistencyToken: tokenOf(readModel, position) });
    },

    async resolveRefspec({ repository, refspec }, { caller }) {
      checkRequired('repository', repository, textLimits.repository);
      checkRequired('refspec', refspec, textLimits.refspec);
      checkKnows(caller, repository);
      const commit = await repositories.askedBy(caller).resolve(repository, refspec, { field: 'refspec' });
      return create(ResolveRefspecResponseSchema, { commit });
    },

    async getCode(request, { caller }) {
      const { repository, commit, paths } = await place(caller, request);
      const { entries, digest, objectFormat } = await codeOf(repositories, repository, {
        commit,
        paths,
        checked: true,
      });
      return create(GetCodeResponseSchema, {
        commit,
        codeDigest: digest,
        entries: entries.map((entry) => create(CodeEntrySchema, entry)),
        objectFormat,
      });
    },

    async *expandRange({ repository, maximum, minimum, exclude, limit }, { caller, signal }) {
      checkRequired('repository', repository, textLimits.repository);
      checkKnows(caller, repository);
      const range = await repositories.askedBy(caller).range(repository, rangeQuery(maximum, minimum, exclude));
      let commits: string[] = [];
      let left = limit === 0 ? Number.POSITIVE_INFINITY : limit;
      for await (const commit of range.commits()) {
        if (signal.aborted || left-- <= 0) break;
        commits.push(commit);
        if (commits.length < commitsPerMessage) continue;
        yield create(ExpandRangeResponseSchema, { commits });
        commits = [];
      }
      if (commits.length > 0) yield create(ExpandRangeResponseSchema, { commits });
    },
  };
}

/** What the service works with. */
type RepositoriesContext = Pick<JobsContext, 'repositories' | 'streams' | 'codePaths' | 'readModel'>;

type CodePlace = { readonly repository: string; readonly commit: string; readonly paths: readonly string[] };

async function describe({ repositories, codePaths }: RepositoriesContext, name: string): Promise<Repository> {
  const own = { name, codePaths: [...(codePaths?.get(name) ?? [])] };
  try {
    return create(RepositorySchema, { ...own, head: await repositories.resolve(name, 'HEAD', { field: 'head' }) });
  } catch (error) {
    if (!(error instanceof MemoirError)) throw error;
    return create(RepositorySchema, { ...own, problem: error.message });
  }
}

function rangeQuery(maximum: string, minimum: string, exclude: readonly string[]): RangeQuery {
  checkLength('maximum', maximum, textLimits.refspec);
  checkLength('minimum', minimum, textLimits.refspec);
  if (exclude.length > maxExcludes) {
    throw invalid('exclude', 'TOO_MANY', `exclude names ${exclude.length} refspecs, and ${maxExcludes} is the limit`);
  }
  for (const [i, refspec] of exclude.entries()) checkRequired(`exclude[${i}]`, refspec, textLimits.refspec);
  return {
    end: { refspec: maximum || 'HEAD', field: 'maximum' },
    ...(minimum !== '' && { minimum: { refspec: minimum, field: 'minimum' } }),
    exclude: exclude.map((refspec, i) => ({ refspec, field: `exclude[${i}]` })),
  };
}
