import ava, { groups } from '../ava.config.js';

// What `npm run test:quick` runs: the rules, the adapters, and one file over a real socket for each service. It is for daily work; what
// it leaves out is `npm test`'s. test/layers/quick-set.test.ts holds it to naming every service, and files that there are.

/** By service: a file that calls it over a real socket and costs little. */
const services = {
  JobsService: 'e2e/find-or-create',
  WorkerService: 'e2e/job-life',
  WorkersService: 'e2e/workers',
  ExclusionsService: 'e2e/exclusions',
  HistoryService: 'e2e/history',
  ImagesService: 'e2e/images',
  CallersService: 'auth/auth',
  RepositoriesService: 'e2e/ranges',
  AuditService: 'e2e/audit-replicas',
  ContentService: 'e2e/outputs',
  RetentionService: 'e2e/retention',
  Capabilities: 'e2e/content',
  ContentAddressableStorage: 'e2e/content',
  Health: 'e2e/standard-services',
};

export { services };

/** What one process runs together, and adapters that have a process of their own. What costs most is left out. */
const others = ['together/{files,git,rules,services}', 'git/{repositories,refspec/*}', 'layers/quick-set', 'threads/*'];

const alone = new Set(Object.values(services).filter((path) => !groups.services?.includes(path)));
const files = [...others, ...alone];

export default { ...ava, files: files.map((file) => `build/test/${file}.test.js`) };
