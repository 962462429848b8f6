import { startThread } from '../../src/threads/thread.js';
import type { SampleThread } from './sample-thread.js';

// A process that has nothing but a thread, which it never closes.

const counts = new Int32Array(new SharedArrayBuffer(8));
const thread = startThread<SampleThread>(
  new URL('./sample-thread.js', import.meta.url),
  { begin: 'late', counts },
  { name: 'the sample' },
);
await thread.opened;
console.log(await thread.call.later(1));
