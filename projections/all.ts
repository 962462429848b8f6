import { exclusions } from './exclusions.js';
import { imageRegistrations } from './image-registrations.js';
import { images } from './images.js';
import { jobLives } from './job-lives.js';
import { jobs } from './jobs.js';
import { lineage } from './lineage.js';
import { logSubjects } from './log-subjects.js';
import { logTimes } from './log-times.js';
import { logTree } from './log-tree.js';
import type { Projection } from './projection.js';
import { queue } from './queue.js';
import { reuseIndex } from './reuse-index.js';

/** Every projection of the read model. */
export const allProjections: readonly Projection[] = [jobs, reuseIndex, queue, lineage, exclusions, images];

/** Every projection of the history: what the past is read by. */
export const historyProjections: readonly Projection[] = [jobLives, imageRegistrations, logSubjects, logTimes, logTree];

/** Projections by the name of the file that they share. */
export const projectionSets = { 'read model': allProjections, history: historyProjections } as const;

/** Name of the projections of one file. */
export type ProjectionSet = keyof typeof projectionSets;
