import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { ImagesService } from '../../../gen/memoir/images/v1/images_service_pb.js';
import { ExclusionsService } from '../../../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { JobsService } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { WorkerService } from '../../../gen/memoir/worker/v1/worker_service_pb.js';
import { WorkersService } from '../../../gen/memoir/workers/v1/workers_service_pb.js';

/** What a call takes: from the budget of calls, or of reports; and whether it counts as a stream or a list while it is under way. */
export type KindOfCall = 'call' | 'report' | 'stream' | 'list';

const { appendJobLog, completeJob, failJob, heartbeat } = WorkerService.method;

/**
 * What keeps an attempt alive, ends it, or takes work back. A server that refuses these for the sake of other calls would lose what was computed, or
 * have done what nobody wants.
 */
const reports: ReadonlySet<DescMethod> = new Set([
  appendJobLog,
  completeJob,
  failJob,
  heartbeat,
  JobsService.method.cancelJob,
]);

/** What goes through much for one call. */
const lists: ReadonlySet<DescMethod> = new Set([
  JobsService.method.listJobs,
  JobsService.method.getQueue,
  JobsService.method.getLineage,
  JobsService.method.getSavings,
  JobsService.method.getChecks,
  JobsService.method.compareJobs,
  ExclusionsService.method.listExclusions,
  ImagesService.method.listImages,
  WorkersService.method.listWorkers,
]);

/** What calls of these services and of the standard ones take, by their paths. */
export function kindsOfCall(services: Iterable<DescService>): (path: string) => KindOfCall {
  const kinds = new Map<string, KindOfCall>([
    ['/grpc.health.v1.Health/Watch', 'stream'],
    ['/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', 'stream'],
    ['/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo', 'stream'],
  ]);
  for (const service of services) {
    for (const method of service.methods) kinds.set(`/${service.typeName}/${method.name}`, kindOf(method));
  }
  return (path) => kinds.get(path) ?? 'call';
}

/** What calls of a method take. */
export function kindOf(method: DescMethod): KindOfCall {
  if (reports.has(method)) return 'report';
  if (lists.has(method)) return 'list';
  return method.methodKind === 'unary' ? 'call' : 'stream';
}
