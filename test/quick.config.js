import { readFileSync } from 'node:fs';

// What `npm run test:quick` runs: the rules, the adapters, and one file over a real socket for each service. It is for daily work; what
// it leaves out is `npm test`'s. test/layers/quick.test.ts holds it to naming every service, and files that there are.

const { ava } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** Rules: no process, no socket, hardly a file. */
const rules = [
  'config/*',
  'domain/**/*',
  'golden/*',
  'layers/*',
  'policy/*',
  'rpc/*',
  'cli/{job-view,parameters,printable}',
  'history/{merge-events,past-entries,recent-entries,turns}',
  'projections/{images,job-filters,log-subjects,log-times}',
];

/** Adapters: the contract suites, and real files and repositories. */
const adapters = [
  'eventstore/{kurrentdb-url,sqlite}',
  'git/{packed-refs,repositories}',
  'git/{graph/checksum,objects/*,refspec/*}',
  'images/catalogue',
  'projections/{pages,read-model}',
  'threads/*',
  'worker/{content-store,find-tree}',
];

/** By service: a file that calls it over a real socket and costs little. */
const services = {
  JobsService: 'e2e/find-or-create',
  WorkerService: 'e2e/job-life',
  ExclusionsService: 'cli/exclusions',
  HistoryService: 'e2e/history',
  ImagesService: 'e2e/images',
  RepositoriesService: 'e2e/ranges',
  AuditService: 'e2e/audit-replicas',
  Health: 'e2e/standard-services',
};

export { services };

export default {
  ...ava,
  files: [...rules, ...adapters, ...Object.values(services)].map((file) => `build/test/${file}.test.js`),
};
