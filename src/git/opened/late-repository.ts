import type { Repository } from '../repository.js';

/**
 * A repository that is opened by the first call for which it can be; until then every call fails as opening it does.
 * @param open - opens it
 */
export function lateRepository(open: () => Repository): Repository {
  let opened: Repository | undefined;
  const there = (): Repository => {
    opened ??= open();
    return opened;
  };
  return {
    resolve: async (...asked) => there().resolve(...asked),
    range: async (...asked) => there().range(...asked),
    isAncestor: async (...asked) => there().isAncestor(...asked),
    isPlain: async (...asked) => there().isPlain(...asked),
    script: async (...asked) => there().script(...asked),
    code: async (...asked) => there().code(...asked),
    codeDifference: async (...asked) => there().codeDifference(...asked),
    changes: async (...asked) => there().changes(...asked),
    objects: async () => there().objects(),
    close: async () => opened?.close(),
  };
}
