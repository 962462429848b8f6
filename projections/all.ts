import { imageRegistrations } from './history/image-registrations.js';
import { jobLives } from './history/job-lives.js';
import { logSubjects } from './history/log-subjects.js';
import { logTimes } from './history/log-times.js';
import { logTree } from './history/log-tree.js';
import { answers } from './read-model/answers.js';
import { backOffs } from './read-model/back-offs.js';
import { checks } from './read-model/checks.js';
import { claims } from './read-model/claims.js';
import { components } from './read-model/components.js';
import { content } from './read-model/content/content.js';
import { contentGivers } from './read-model/content/givers.js';
import { retention } from './read-model/content/retention.js';
import { exclusions } from './read-model/exclusions.js';
import { generations } from './read-model/generations.js';
import { images } from './read-model/images.js';
import { jobs } from './read-model/jobs.js';
import { lineage } from './read-model/lineage.js';
import { nearJobs } from './read-model/near-misses/near-jobs.js';
import { queue } from './read-model/queue.js';
import { reuseIndex } from './read-model/reuse-index.js';
import { savings } from './read-model/savings/savings.js';
import { tombstones } from './read-model/tombstones.js';
import { workers } from './read-model/workers.js';
import type { Projection } from './running/projection.js';

/** Every projection of the read model. */
export const allProjections: readonly Projection[] = [
  jobs,
  reuseIndex,
  queue,
  lineage,
  exclusions,
  images,
  generations,
  claims,
  backOffs,
  answers,
  tombstones,
  workers,
  components,
  content,
  contentGivers,
  retention,
  checks,
  nearJobs,
  savings,
];

/** Every projection of the history: what the past is read by. */
export const historyProjections: readonly Projection[] = [jobLives, imageRegistrations, logSubjects, logTimes, logTree];

/** Projections by the name of the file that they share. */
export const projectionSets = { 'read model': allProjections, history: historyProjections } as const;

/** Name of the projections of one file. */
export type ProjectionSet = keyof typeof projectionSets;
