import type { DescService } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import {
  Capabilities,
  ContentAddressableStorage,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream } from '../../gen/google/bytestream/bytestream_pb.js';
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
import type { ServerConfig } from '../config.js';
import { bringers } from '../content/brought.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import { exclusionUseCases } from '../exclusions/exclude.js';
import { exclusionRules } from '../exclusions/rules.js';
import { exclusionsOfThePast } from '../exclusions/rules-as-of.js';
import type { ImageParts } from '../images/open.js';
import type { JobsContext } from '../jobs/context.js';
import { jobCreator } from '../jobs/deciding/create-job.js';
import { pastExplainer } from '../jobs/deciding/explain-reuse-as-of.js';
import { reusableFinder } from '../jobs/deciding/find-reusable.js';
import type { AddRepositories } from '../jobs/repositories/add-repository.js';
import { jobClaims } from '../jobs/running/claim-job.js';
import { jobLogs } from '../jobs/running/job-log.js';
import { seenWorkers } from '../jobs/workers/seen-workers.js';
import { type AuditParts, auditService } from '../rpc/audit-service.js';
import type { Calls } from '../rpc/call.js';
import { callersService } from '../rpc/callers/callers-service.js';
import { byteStreamService } from '../rpc/content/byte-stream-service.js';
import { batchLimit, capabilitiesService } from '../rpc/content/capabilities-service.js';
import { casService } from '../rpc/content/cas-service.js';
import { contentService } from '../rpc/content/content-service.js';
import { rawAccess } from '../rpc/content/raw-access.js';
import { renewHolds } from '../rpc/content/renew-holds.js';
import { retentionService } from '../rpc/content/retention-service.js';
import { takeResult } from '../rpc/content/taken-result.js';
import { exclusionsService } from '../rpc/exclusions-service.js';
import { historyService } from '../rpc/history-service.js';
import { imagesService } from '../rpc/images-service.js';
import { jobsService } from '../rpc/jobs/jobs-service.js';
import { redacting } from '../rpc/redacting.js';
import { repositoriesService } from '../rpc/repositories-service.js';
import { type Before, type Implementation, type Served, serveService } from '../rpc/service.js';
import { workerService } from '../rpc/worker-service.js';
import { workersService } from '../rpc/workers/workers-service.js';
import { watchDifferences, withChecks } from './check-parts.js';
import type { ContentParts } from './content-parts.js';
import { gate } from './readiness.js';

/** Where bytes are, and how large a request of them may be. */
export type BytesParts = ContentParts & { readonly maxRequestBytes: number };

/** Every service of a server, each with the use cases that it calls. */
export function services(
  given: JobsContext,
  store: GuardedStore,
  { images, added }: { readonly images: ImageParts; readonly added: AddRepositories },
  audit: AuditParts,
  { content, local, keeping, maxRequestBytes }: BytesParts,
  calls: Calls,
  determinism: ServerConfig['determinism'],
  meterOf: Before['meterOf'],
  logger: Logger,
): ReadonlyMap<DescService, Served> {
  const served = new Map<DescService, Served>();
  const { context, checks } = withChecks(given, content, determinism, logger);
  const open = gate(store, context.readModel);
  const serve = <S extends DescService>(service: S, implementation: Implementation<S>) =>
    served.set(
      service,
      serveService(service, redacting(service, implementation, context.readModel), calls, { open, meterOf }, logger),
    );

  const rules = exclusionRules(context);
  const find = reusableFinder(context, rules, keeping?.held);
  const createJob = jobCreator(context, find);
  const explainThen = pastExplainer(context, exclusionsOfThePast(context.repositories));
  const logs = jobLogs(context);

  serve(JobsService, jobsService(context, createJob, find, explainThen, checks, logs, logger));
  const brought = bringers();
  const raw = rawAccess(content, context, brought);
  const renew = renewHolds(content, brought, context.edge, logger);
  const saw = seenWorkers(context, logger);
  serve(WorkerService, workerService(context, jobClaims(context), logs, saw, takeResult(context, raw), renew));
  serve(WorkersService, workersService(context));
  serve(CallersService, callersService());
  serve(HistoryService, historyService(context));
  serve(AuditService, auditService(context, audit));
  const exclusions = exclusionUseCases(context, rules, keeping?.held);
  if (context.sharesRuns) watchDifferences(context, exclusions, determinism, logger);
  serve(ExclusionsService, exclusionsService(context, exclusions));
  serve(ImagesService, imagesService(context, images));
  serve(RepositoriesService, repositoriesService(context, added));
  const batchBytes = batchLimit(maxRequestBytes);
  serve(ContentService, contentService(context, content, raw, keeping?.held));
  serve(RetentionService, retentionService(context, content, local, keeping?.retention));
  serve(Capabilities, capabilitiesService(batchBytes));
  serve(ContentAddressableStorage, casService(raw, batchBytes, logger));
  serve(ByteStream, byteStreamService(raw));
  return served;
}
