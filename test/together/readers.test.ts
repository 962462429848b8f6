// Who may read what, and what readers of the log are told.
// What one process runs together; see ava.config.js.

import '../e2e/audit.test.js';
import '../e2e/compare-jobs.test.js';
import '../e2e/limits.test.js';
import '../e2e/permissions.test.js';
import '../e2e/redaction.test.js';
import '../e2e/savings.test.js';
import '../e2e/subscribe.test.js';
import '../e2e/wire.test.js';
import '../rpc/http2/lifetimes.test.js';
