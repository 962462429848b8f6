// Adapters: real files, the contract of a store.
// What one process runs together; see ava.config.js.

import '../auth/issuer-keys.test.js';
import '../content/batches.test.js';
import '../content/blob-files.test.js';
import '../content/sweep-blobs.test.js';
import '../eventstore/foreign.test.js';
import '../eventstore/format-guard.test.js';
import '../eventstore/kurrentdb-url.test.js';
import '../eventstore/sqlite.test.js';
import '../eventstore/transfer/compression.test.js';
import '../eventstore/transfer/damaged-file.test.js';
import '../eventstore/transfer/format.test.js';
import '../eventstore/wal-inspection.test.js';
import '../eventstore/writer.test.js';
import '../exclusions/upstream.test.js';
import '../history/checkpoints.test.js';
import '../images/catalogue.test.js';
import '../jobs/content/losses-of-then.test.js';
import '../projections/kept-file.test.js';
import '../projections/log-tree.test.js';
import '../projections/pages.test.js';
import '../projections/read-model.test.js';
import '../worker/inputs/staging.test.js';
import '../worker/run/kept-checkouts.test.js';
import '../worker/store/content-store.test.js';
import '../worker/store/verify-store.test.js';
import '../serving/key-command.test.js';
import '../serving/private-data.test.js';
