import type { ExecutionContext } from 'ava';
import type { RecordedEvent } from '../../../src/eventstore/port.js';
import { checkHistory } from './checker.js';
import { computation } from './computation.js';
import { contradictions, type Histories } from './record.js';

/** Fails the test with the history of a computation that is not linearizable, or with what the log contradicts. */
export function judge(t: ExecutionContext, histories: Histories, events: readonly RecordedEvent[], own: string): void {
  for (const history of histories) {
    const verdict = checkHistory(history, computation);
    if (verdict.linearizable) continue;
    const lines = history.map((operation) => JSON.stringify(operation));
    t.fail(`only ${verdict.explained} of ${history.length} operations have an order:\n${lines.join('\n')}`);
  }
  t.deepEqual(contradictions(histories, events, own), []);
  const all = histories.flat();
  const open = all.filter(({ output }) => output === undefined).length;
  const kinds = new Map<string, number>();
  for (const { input, output } of all) {
    const kind = `${input.kind} ${output?.kind ?? 'open'}`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  t.log(`${all.length} operations, ${open} open: ${[...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')}`);
}
