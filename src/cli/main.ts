#!/usr/bin/env -S node --max-semi-space-size=64

import { runCommand } from './command.js';
import { endWithReader } from './text/output.js';

endWithReader();
await runCommand(process.argv.slice(2));
// The end that Node.js comes to by itself waits for the handles of native clients, and now and then for ever, at full speed
// (node::Environment::CleanupHandles). Nothing is left to wait for but what is still to be written.
process.stdout.write('', () => process.stderr.write('', () => process.exit()));
