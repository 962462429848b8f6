import { create } from '@bufbuild/protobuf';
import {
  ExpandRangeResponseSchema,
  ListRepositoriesResponseSchema,
  type RepositoriesService,
  type Repository,
  RepositorySchema,
  ResolveRefspecResponseSchema,
} from '../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { invalid, MemoirError } from '../domain/errors.js';
import type { RangeQuery, Repositories } from '../git/port.js';
import { checkLength, checkRequired, textLimits } from '../jobs/limits.js';
import { checkKnows } from '../jobs/reading/permit.js';
import type { Implementation } from './service.js';

/** Commits in one message of ExpandRange. */
const commitsPerMessage = 1_000;

/** Most refspecs to leave out of a range. */
const maxExcludes = 1_000;

/** memoir.repositories.v1.RepositoriesService. */
export function repositoriesService(repositories: Repositories): Implementation<typeof RepositoriesService> {
  return {
    async listRepositories(_request, { caller }) {
      const names = repositories.names().filter((name) => caller.access.knows(name));
      const listed = await Promise.all(names.map((name) => describe(repositories, name)));
      return create(ListRepositoriesResponseSchema, { repositories: listed });
    },

    async resolveRefspec({ repository, refspec }, { caller }) {
      checkRequired('repository', repository, textLimits.repository);
      checkRequired('refspec', refspec, textLimits.refspec);
      checkKnows(caller, repository);
      const commit = await repositories.askedBy(caller).resolve(repository, refspec, { field: 'refspec' });
      return create(ResolveRefspecResponseSchema, { commit });
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

async function describe(repositories: Repositories, name: string): Promise<Repository> {
  try {
    return create(RepositorySchema, { name, head: await repositories.resolve(name, 'HEAD', { field: 'head' }) });
  } catch (error) {
    if (!(error instanceof MemoirError)) throw error;
    return create(RepositorySchema, { name, problem: error.message });
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
