import type { WorkerService } from '../../gen/memoir/worker/v1/worker_service_pb.js';
import type { ClientOf } from '../rpc/client.js';

/** The server's WorkerService as a worker calls it. */
export type WorkerClient = ClientOf<typeof WorkerService>;
