// Servers on the double of a KurrentDB.
// What one process runs together; see ava.config.js.

import '../e2e/content-of-servers.test.js';
import '../e2e/exactly-once.test.js';
import '../e2e/foreign-events.test.js';
import '../e2e/generations.test.js';
import '../e2e/lost-log.test.js';
import '../e2e/read-model-trouble.test.js';
