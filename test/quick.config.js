import ava from '../ava.config.js';

// What `npm run test:quick` runs: the rules, the adapters, and one file over a real socket for each service. It is for daily work; what
// it leaves out is `npm test`'s. test/layers/quick-set.test.ts holds it to naming every service, and files that there are.

/** By service: a file that calls it over a real socket and costs little. */
const services = {
  JobsService: 'e2e/find-or-create',
  WorkerService: 'e2e/job-life',
  WorkersService: 'e2e/workers',
  ExclusionsService: 'cli/exclusions',
  HistoryService: 'e2e/history',
  ImagesService: 'e2e/images',
  RepositoriesService: 'e2e/ranges',
  AuditService: 'e2e/audit-replicas',
  ContentService: 'e2e/outputs',
  RetentionService: 'e2e/retention',
  Capabilities: 'e2e/content',
  ContentAddressableStorage: 'e2e/content',
  Health: 'e2e/standard-services',
};

export { services };

/** Adapters that have a process of their own, and what holds this set. What costs most is left out. */
const others = ['git/{repositories,refspec/*}', 'layers/quick-set', 'threads/*'];

const files = ['together/*', ...others, ...new Set(Object.values(services))];

export default { ...ava, files: files.map((file) => `build/test/${file}.test.js`) };
