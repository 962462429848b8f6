import { parentPort, workerData } from 'node:worker_threads';
import type { LeafAnswer, LeafQuestion } from './leaf-protocol.js';
import { openLeafReader } from './leaf-reader.js';

// A thread that reads and hashes ranges of the log, since one alone reads about half as fast as two.

const reader = openLeafReader((workerData as { readonly path: string }).path);

parentPort?.on('message', (question: LeafQuestion | 'close') => {
  if (question === 'close') {
    reader.close();
    parentPort?.close();
    return;
  }
  const page = reader.read(question.after, question.to);
  const memory = [page.hashes.buffer, page.positions.buffer, page.roots.buffer] as ArrayBuffer[];
  parentPort?.postMessage(page satisfies LeafAnswer, memory);
});
