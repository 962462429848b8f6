// Adapters: real repositories.
// What one process runs together; see ava.config.js.

import '../git/ancestry.test.js';
import '../git/attributes/attributes.test.js';
import '../git/changed-repositories.test.js';
import '../git/code/changed-paths.test.js';
import '../git/code/code-oracle.test.js';
import '../git/code/code.test.js';
import '../git/commit-trees.test.js';
import '../git/graph/checksum.test.js';
import '../git/graph/commit-graph.test.js';
import '../git/graph/slicer.test.js';
import '../git/objects/checked-sha1.test.js';
import '../git/objects/id-table.test.js';
import '../git/packed-refs.test.js';
import '../git/packs/index-pack.test.js';
import '../git/packs/merge-packs.test.js';
import '../git/packs/resolve-in-threads.test.js';
import '../git/prune/lost-tips.test.js';
import '../git/prune/prune-packs.test.js';
import '../git/reftable.test.js';
import '../worker/find-script.test.js';
import '../worker/find-tree.test.js';
