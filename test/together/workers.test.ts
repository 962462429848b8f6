// Claims, attempts, and what workers bring.
// What one process runs together; see ava.config.js.

import '../e2e/attempts.test.js';
import '../e2e/checks.test.js';
import '../e2e/claims.test.js';
import '../e2e/fairness.test.js';
import '../e2e/leases.test.js';
import '../e2e/live-log.test.js';
import '../e2e/offers.test.js';
import '../e2e/secrets.test.js';
