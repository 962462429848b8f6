#!/usr/bin/env -S node --max-semi-space-size=64

import { runCommand } from './command.js';
import { endWithReader } from './text/output.js';

endWithReader();
await runCommand(process.argv.slice(2));
