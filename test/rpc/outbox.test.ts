import test from 'ava';
import { outbox } from '../../src/rpc/outbox.js';

/** A call whose client reads when it is told to. */
function scene() {
  const waiting: ((error?: Error) => void)[] = [];
  const stop = new AbortController();
  const write = (_: unknown, written?: unknown) => {
    waiting.push(written as () => void);
    return true;
  };
  const send = outbox({ write } as unknown as Parameters<typeof outbox>[0], stop.signal);
  const read = (count: number) => {
    for (const written of waiting.splice(0, count)) written();
  };
  return { send, read, stop, waiting };
}

const settled = async (work: Promise<void>) => {
  const answer = await Promise.race([work.then(() => true), new Promise((resolve) => setImmediate(resolve))]);
  return answer === true;
};

test('there is room for a few messages, and again when half of them were read', async (t) => {
  const { send, read } = scene();
  for (let i = 0; i < 15; i++) t.is(send(Buffer.alloc(10)), undefined);
  const full = send(Buffer.alloc(10)) as Promise<void>;
  t.false(await settled(full));
  read(7);
  t.false(await settled(full));
  read(1);
  t.true(await settled(full));
  t.is(send(Buffer.alloc(10)), undefined);
});

test('big messages fill it sooner', async (t) => {
  const { send, read } = scene();
  const full = send(Buffer.alloc(1024 * 1024)) as Promise<void>;
  t.false(await settled(full));
  read(1);
  t.true(await settled(full));
});

test('it says of a message that it was sent once it was, and not if it is lost', (t) => {
  const { send, waiting } = scene();
  const sent: string[] = [];
  send(Buffer.alloc(10), () => sent.push('first'));
  send(Buffer.alloc(10), () => sent.push('second'));
  waiting[1]?.(new Error('the client has gone'));
  t.deepEqual(sent, []);
  waiting[0]?.();
  t.deepEqual(sent, ['first']);
});

test('nobody waits for a client that is gone', async (t) => {
  const { send, stop } = scene();
  const full = send(Buffer.alloc(1024 * 1024)) as Promise<void>;
  stop.abort();
  t.true(await settled(full));
  t.is(send(Buffer.alloc(1024 * 1024)), undefined);
});
