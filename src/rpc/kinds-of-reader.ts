import { type Access, permission } from '../domain/access.js';
import { remembering } from '../domain/remembering.js';
import type { JobFacts } from '../jobs/reading/permit.js';
import type { Reader, ReaderAccess } from '../jobs/reading/redact.js';

/** Most kinds of readers that one thing is kept for. */
const mostKinds = 16;

/** What was asked of an access, and what it answered. */
type Asked = { readonly ask: (access: Access) => boolean; readonly answer: boolean };

/** What was made for a reader, and all that it depends on. */
type Made<T> = { readonly asked: ReadonlyMap<string, Asked>; readonly what: T };

/**
 * Makes something that depends on its reader once for each kind of readers: those for whom all is answered alike that is asked of their
 * access while it is made. So nothing has to say what it depends on. Of a reader's principal it may depend only on whether it is
 * one of `principals`: it is nobody's otherwise. What is asked of jobs is looked up once.
 */
export function forKindsOfReader<T>(
  facts: JobFacts,
  principals: readonly string[],
  make: (reader: Reader) => T,
): (access: Access) => T {
  const kinds: Made<T>[] = [];
  const known = factsOnce(facts);

  return (access) => {
    for (const { asked, what } of kinds) if (isOfKind(access, asked)) return what;
    const asked = new Map<string, Asked>();
    const what = make({ access: watched(access, principals, asked), facts: known });
    if (kinds.length < mostKinds) kinds.push({ asked, what });
    return what;
  };
}

function isOfKind(access: Access, asked: ReadonlyMap<string, Asked>): boolean {
  for (const { ask, answer } of asked.values()) if (ask(access) !== answer) return false;
  return true;
}

/** The facts, each asked for once. */
function factsOnce({ jobs }: JobFacts): JobFacts {
  return { jobs: { facts: remembering((uuid: string) => jobs.facts(uuid)) } };
}

/** An access that answers as another one, and notes what it was asked. */
function watched(access: Access, principals: readonly string[], asked: Map<string, Asked>): ReaderAccess {
  function told(key: string, ask: Asked['ask']): boolean {
    const answer = asked.get(key)?.answer ?? ask(access);
    asked.set(key, { ask, answer });
    return answer;
  }
  return {
    get principal() {
      return principals.find((name) => told(`is ${name}`, (one) => one.principal === name)) ?? '';
    },
    get readsAll() {
      return told('reads all', (one) => one.readsAll);
    },
    get administersAll() {
      return told('administers all', (one) => one.administersAll);
    },
    knows: (repository) => told(`knows ${repository}`, (one) => one.knows(repository)),
    works: (repository) => told(`works ${repository}`, (one) => one.works(repository)),
    administers: (repository) => told(`administers ${repository}`, (one) => one.administers(repository)),
    // By whoever works on a job, which `permission` cannot tell by the principal here.
    reads: (job) => {
      const { owner, repository, claimedBy = '' } = job as typeof job & { readonly claimedBy?: string };
      const whole = { owner, repository, claimedBy };
      return told(`reads ${JSON.stringify(whole)}`, (one) => permission(one, whole, 'read') === 'granted');
    },
    steers: (job) => told(`steers ${JSON.stringify([job.owner, job.repository])}`, (one) => one.steers(job)),
  };
}
