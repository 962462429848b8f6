// One file over a real socket for each service.
// What one process runs together; see ava.config.js.

import '../e2e/audit-replicas.test.js';
import '../e2e/content.test.js';
import '../e2e/exclusions.test.js';
import '../e2e/find-or-create.test.js';
import '../e2e/history.test.js';
import '../e2e/images.test.js';
import '../e2e/job-life.test.js';
import '../e2e/ranges.test.js';
import '../e2e/standard-services.test.js';
import '../e2e/workers.test.js';
