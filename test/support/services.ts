import type { DescService } from '@bufbuild/protobuf';
import { AuditService } from '../../gen/memoir/audit/v1/audit_service_pb.js';
import { CallersService } from '../../gen/memoir/callers/v1/callers_service_pb.js';
import { ContentService } from '../../gen/memoir/content/v1/content_service_pb.js';
import { RetentionService } from '../../gen/memoir/content/v1/retention_service_pb.js';
import { HistoryService } from '../../gen/memoir/history/v1/history_service_pb.js';
import { ImagesService } from '../../gen/memoir/images/v1/images_service_pb.js';
import { ExclusionsService } from '../../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { RepositoriesService } from '../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { WorkerService } from '../../gen/memoir/worker/v1/worker_service_pb.js';
import { WorkersService } from '../../gen/memoir/workers/v1/workers_service_pb.js';

/** Every service of the protos of Memoir, which test/protos holds it to: what is tested of all methods is tested of those to come too. */
export const memoirServices: readonly DescService[] = [
  AuditService,
  CallersService,
  ContentService,
  ExclusionsService,
  HistoryService,
  ImagesService,
  JobsService,
  RepositoriesService,
  RetentionService,
  WorkerService,
  WorkersService,
];
