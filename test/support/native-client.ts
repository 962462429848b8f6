import { registerCompletionHandler } from 'ava';

// For test files in whose process KurrentDB's client is: see src/cli/main.ts for what its end might wait for otherwise.
registerCompletionHandler(() => process.exit());
