import type { MessageShape } from '@bufbuild/protobuf';
import type { JobLogAppendedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { jobLogStream } from '../../src/domain/streams.js';
import { systemEdge } from '../../src/edge.js';
import { decodeEvent } from '../../src/eventstore/codec.js';
import { StoreUnavailable } from '../../src/eventstore/port.js';
import { serverItself } from '../../src/jobs/caller.js';
import type { JobsContext } from '../../src/jobs/context.js';
import { openJobStreams } from '../../src/jobs/job-streams.js';
import { jobLogs } from '../../src/jobs/running/job-log.js';
import { requestOf } from '../domain/commands.js';
import { openOnDouble } from '../eventstore/kurrentdb-double.js';
import type { Fault } from '../support/kurrentdb-double/faults.js';
import { test } from '../support/serial.js';

const lines = Array.from({ length: 40 }, (_, i) => `${i} é字👩\n`);

test('a piece of live log whose answer was lost is recorded once, however often it is sent again', async (t) => {
  // Without patience, whatever happens to an append reaches the worker, who tries again.
  const { double, store } = await openOnDouble(t, { timings: { patience: 0 } });
  const context = { store, edge: systemEdge, serverVersion: 'test', jobLogLimit: 1024 * 1024 } as JobsContext;
  // Whoever may know of all jobs is not looked up, and no read model waits for writes.
  const nobody = {} as JobsContext['readModel'];
  const written = { note: () => {} } as unknown as JobsContext['written'];
  const streams = openJobStreams(store, systemEdge, 'test', written, nobody);
  const logs = jobLogs({ ...context, streams, readModel: nobody });
  const worker = serverItself(systemEdge);
  const { uuid } = (await streams.request(worker, requestOf())).record.job;
  await streams.execute(worker, uuid, { kind: 'start', worker: worker.principal, leaseMs: 60_000, now: 0 });

  const kinds: (Fault | undefined)[] = [
    { kind: 'lose_answer' },
    { kind: 'drop' },
    { kind: 'wrong_version' },
    { kind: 'busy' },
    undefined,
  ];
  let offset = 0;
  let failed = 0;
  for (const [i, text] of lines.entries()) {
    double.faults.inject('append', kinds[i % kinds.length], kinds[(i * 7 + 3) % kinds.length]);
    for (;;) {
      try {
        await logs.append(worker, { uuid, text, offset, tokenDigest: undefined });
        break;
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        failed++;
      }
    }
    offset += Buffer.byteLength(text);
  }
  t.true(failed >= 10, `${failed} appends failed`);
  let log = '';
  for await (const recorded of store.readStream(jobLogStream(uuid))) {
    const piece = decodeEvent(recorded) as MessageShape<typeof JobLogAppendedSchema>;
    t.is(Number(piece.offset), Buffer.byteLength(log));
    log += piece.text;
  }
  t.is(log, lines.join(''));
});
