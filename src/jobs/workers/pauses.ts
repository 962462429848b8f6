import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { PauseRow } from '../../../projections/read-model/workers.js';
import { repositoryGlobs } from '../../domain/repositories/repository-glob.js';
import { queuePausesStream } from '../../domain/streams.js';

/** Which part of the queue is given to nobody. */
export type Pauses = {
  /** The pause that takes a repository in, if one holds. */
  of(repository: string): PauseRow | undefined;
};

type Compiled = { readonly pause: PauseRow; readonly takesIn: (repository: string) => boolean };

/** The pauses that hold. They stay in memory until one is ordered or taken back. */
export function openPauses(readModel: Pick<ReadModel, 'workers' | 'onChange' | 'onRemade'>): Pauses {
  let known: readonly Compiled[] | undefined;
  const forget = () => {
    known = undefined;
  };
  readModel.onChange(queuePausesStream, forget);
  readModel.onRemade(forget);
  return {
    of(repository) {
      known ??= readModel.workers.pauses().map(compiled);
      return known.find(({ takesIn }) => takesIn(repository))?.pause;
    },
  };
}

/** A glob of the log that is none takes nothing in. */
function compiled(pause: PauseRow): Compiled {
  return { pause, takesIn: repositoryGlobs([pause.repositories]) ?? (() => false) };
}
