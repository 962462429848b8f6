import { systemEdge } from '../../src/edge.js';
import { openKurrentStore } from '../../src/eventstore/kurrentdb/store.js';
import { parseKurrentUrl } from '../../src/eventstore/kurrentdb/url.js';
import { testEventStore } from '../contract/event-store.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { ownRange, realServer } from '../support/real-kurrentdb.js';
import '../support/native-client.js';

// By the real client over a real socket: against the double, or against a server when MEMOIR_TEST_KURRENTDB has its URL.

testEventStore(async (t) => {
  const release = await ownRange(t);
  const double = realServer === undefined ? await startDouble() : undefined;
  const url = parseKurrentUrl(realServer ?? double?.url ?? '');
  return {
    open: () => openKurrentStore(url, { edge: systemEdge }),
    dispose: async () => {
      await double?.stop();
      release();
    },
  };
});
