import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Edge } from '../edge.js';
import type { EventStore } from '../eventstore/port.js';
import type { OwnWrites } from '../jobs/own-writes.js';

/** What images are kept with. */
export type ImagesContext = {
  readonly store: EventStore;
  readonly readModel: ReadModel;
  /** What this process wrote; images are noted under `imagesKey`. */
  readonly written: OwnWrites;
  readonly edge: Edge;
  /** Version of this server, for the metadata of events. */
  readonly serverVersion: string;
};

/** Key of `OwnWrites` for everything that is written of images. */
export const imagesKey = 'images';
