import { exclusions } from './exclusions.js';
import { images } from './images.js';
import { jobs } from './jobs.js';
import { lineage } from './lineage.js';
import type { Projection } from './projection.js';
import { queue } from './queue.js';
import { reuseIndex } from './reuse-index.js';

/** Every projection of the read model. */
export const allProjections: readonly Projection[] = [jobs, reuseIndex, queue, lineage, exclusions, images];
