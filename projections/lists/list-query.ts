import type { JobFilter } from '../../src/domain/filters/filter.js';
import type { JobOrder } from '../../src/domain/filters/job-order.js';
import type { Position } from '../../src/eventstore/port.js';
import type { JobRow } from '../read-model/jobs.js';
import type { Readers } from '../read-model/readers.js';
import type { RequestedBy } from './requested-by.js';
import type { Knowing } from './told-fields.js';

/** Which jobs to list. Plain data. */
export type ListQuery = {
  /** Queued jobs stand in the order in which workers get them, whatever `order` says. */
  readonly from: 'jobs' | 'queue';
  /** Position of the log whose jobs are listed, on a connection to the past; absent for now. Not of the queue. */
  readonly asOf?: Position;
  readonly filters: readonly JobFilter[];
  /** Whose requests the list is about; absent for all. Filters on labels then look at those of their requests too. */
  readonly requestedBy?: RequestedBy;
  /** Who reads; undefined for whoever may read all. */
  readonly readers: Readers | undefined;
  /** What of secret fields the reader knows; absent for everything, and where no filter looks at them. */
  readonly knowing?: Knowing;
  readonly order: JobOrder;
  /** Where the page begins: behind the job with these keys. */
  readonly after: readonly KeyValue[] | undefined;
  readonly limit: number;
  /** About how many bytes of jobs to answer with at most; a page that would be larger ends early. */
  readonly bytes: number;
  /** Fields whose values are wanted; undefined for all. The others are empty in the answer. */
  readonly fields: readonly string[] | undefined;
  readonly countTotal: boolean;
};

/** A page of jobs. */
export type ListPage = {
  readonly rows: readonly JobRow[];
  /** Keys of the last row, if more follow. */
  readonly next: readonly KeyValue[] | undefined;
  /** How many jobs match in all, if that was asked for. */
  readonly total: number | undefined;
};

/** The value of a key of the order in a job. */
export type KeyValue = string | number | null;
