import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { HistoryModel } from '../../projections/history/history-model.js';
import type { JobLists } from '../../projections/lists/job-lists.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Shares } from '../domain/placement/shares.js';
import type { Prices } from '../domain/savings/prices.js';
import type { Edge } from '../edge.js';
import type { EventStore } from '../eventstore/port.js';
import type { Repositories } from '../git/port.js';
import type { Quotas } from './deciding/quotas.js';
import type { JobStreams } from './job-streams.js';
import type { OwnWrites } from './own-writes.js';
import type { Images } from './ports/images.js';
import type { KeptContent } from './ports/kept-content.js';
import type { UnhashedNames } from './ports/unhashed-names.js';
import type { DamagedJobs } from './reading/damaged-jobs.js';
import type { BackOffs } from './running/back-offs.js';
import type { Reservations } from './running/reservations.js';
import type { SeenGrants } from './workers/seen-lately.js';

/** What the use cases work with. */
export type JobsContext = {
  readonly store: EventStore;
  readonly readModel: ReadModel;
  /** What the past is read by. */
  readonly history: HistoryModel;
  /** Reads of the read model that may take long. */
  readonly lists: JobLists;
  readonly streams: JobStreams;
  readonly damaged: DamagedJobs;
  /** What this process wrote of each computation, and of each submit_id. */
  readonly written: OwnWrites;
  readonly repositories: Repositories;
  readonly images: Images;
  /** What servers keep of content; absent where nothing of it is asked. */
  readonly content?: KeptContent;
  readonly edge: Edge;
  /** Version of this server, for the metadata of events. */
  readonly serverVersion: string;
  /** Whether a finished job is reused although finished jobs of the same work have different outputs. */
  readonly reuseIfOutputsDiffer: boolean;
  /** Whether of unfinished jobs only the caller's own are answers, where runs may be shared. */
  readonly ownUnfinishedOnly?: boolean;
  /** Whether complete jobs that name an image are answers although their run does not state it, as of earlier versions. */
  readonly trustUnstatedImages?: boolean;
  /** Whether what is intended for a submit_id is recorded before it is answered, which needs format 2 of the log. */
  readonly recordIntentions?: boolean;
  /** Whether all who may request jobs may have them run again to be the answer in the place of what there is; absent: who administers alone. */
  readonly submittersSupersede?: boolean;
  /** Which parameters may be left out of what is computed; absent: none. */
  readonly unhashed?: UnhashedNames;
  /** Normal code paths of requests that name none, by repository, as they are now; absent if no repository has any. */
  readonly codePaths?: ReadonlyMap<string, readonly string[]>;
  /** Whether a run may be shared and tried again, which needs format 4 of the log (`sharedRunsFormat`). Without it all is as it was before. */
  readonly sharesRuns?: boolean;
  /** What runs cost; absent where nothing says so. */
  readonly prices?: Prices;
  /** What owners get of the queue and the workers. */
  readonly shares: Shares;
  /** How many jobs they may have queued. */
  readonly quotas: Quotas;
  /** Workers that are kept free for jobs. */
  readonly reservations: Reservations;
  /** How long a job waits for another worker than the one that lost it or had no place for it, in milliseconds. */
  readonly preferOthersMs: number;
  /** Which jobs back off. */
  readonly backOffs?: Pick<BackOffs, 'holds' | 'waited' | 'onPassed'>;
  /** Most bytes of one job's live log. */
  readonly jobLogLimit: number;
  /** Secrets that workers have which were seen lately, and for whom; absent where none is known. */
  readonly grants?: SeenGrants;
  /** Is told of complete jobs that were the answer, or completed, where some of them are run again to compare; never waits and never fails. */
  readonly toCompare?: (job: Job) => void;
  /** Is told of every job that was recorded, where their commits are kept; never waits and never fails. */
  readonly keepCommit?: (job: JobToKeep) => void;
};

/** What a decision is taken with; it may be one of the past. */
export type DecidingContext = Pick<
  JobsContext,
  | 'repositories'
  | 'images'
  | 'reuseIfOutputsDiffer'
  | 'sharesRuns'
  | 'ownUnfinishedOnly'
  | 'trustUnstatedImages'
  | 'codePaths'
  | 'grants'
  | 'submittersSupersede'
  | 'unhashed'
> & {
  readonly store: Pick<EventStore, 'exclusive' | 'end'>;
  /** Where it tells what changes, candidates may be kept. */
  readonly readModel: Pick<ReadModel, 'candidates' | 'content' | 'givers'> &
    Partial<Pick<ReadModel, 'position' | 'onTouched'>>;
  readonly lists: Pick<JobLists, 'candidates' | 'values'>;
  readonly streams: Pick<JobStreams, 'current' | 'unread' | 'load'>;
  readonly written: Pick<OwnWrites, 'pending' | 'seen' | 'catchUp' | 'onNote' | 'onRemade' | 'noted'>;
  readonly edge: Edge;
};

/** A job whose commit is to be kept. */
export type JobToKeep = { readonly uuid: string; readonly repository: string; readonly commit: string };
