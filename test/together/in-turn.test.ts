// What waits for times, or for others: one test after the other, so that nothing else keeps the process from noticing.
// What one process runs together; see ava.config.js.

import '../cli/token-file.test.js';
import '../eventstore/signing.test.js';
import '../exclusions/kinds.test.js';
import '../git/mirror/other-reader.test.js';
import '../history/subscribe.test.js';
import '../jobs/caps.test.js';
import '../jobs/keep-commits.test.js';
import '../jobs/leases.test.js';
import '../jobs/lineage-of.test.js';
import '../jobs/lost-answers.test.js';
import '../jobs/queue-limits.test.js';
import '../jobs/queue-order.test.js';
import '../jobs/waiting-claims.test.js';
import '../policy/policy-file.test.js';
