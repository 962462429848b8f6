// What is asked for, and how it is answered.
// What one process runs together; see ava.config.js.

import '../e2e/as-of.test.js';
import '../e2e/code-paths.test.js';
import '../e2e/create-jobs.test.js';
import '../e2e/default-image.test.js';
import '../e2e/filters.test.js';
import '../e2e/hostile-input.test.js';
import '../e2e/interests.test.js';
import '../e2e/lineage.test.js';
import '../e2e/lists.test.js';
import '../e2e/near-misses.test.js';
import '../e2e/refusals.test.js';
import '../e2e/submit-id.test.js';
import '../e2e/superseding.test.js';
import '../e2e/values.test.js';
