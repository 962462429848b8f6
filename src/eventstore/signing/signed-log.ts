import { LRUCache } from 'lru-cache';
import type { EventLog, EventStore, ExpectedRevision, NewEvent, RecordedEvent } from '../port.js';
import { isOfState, type SigningState, signingState, type Trust } from './signing-state.js';
import { signingKey, splitSignature, statementOf, withSignature } from './statement.js';

/** What a server signs events with. */
export type EventSigner = {
  /** Text of the public key. */
  readonly key: string;
  /** The Ed25519 signature, 64 bytes. */
  sign(statement: Uint8Array): Buffer;
};

/** The signing of a log by a server. */
export type Signing = {
  readonly state: SigningState;
  /** Opened when something is to be signed first: a server makes its key once it has a log. */
  readonly signer: () => EventSigner;
};

/** Of how many streams it is remembered where they ended. */
const remembered = 50_000;

/** A signature of 64 zero bytes, where only its length matters. */
const placeholder = { by: '0'.repeat(16), after: Number.MAX_SAFE_INTEGER, value: `${'A'.repeat(86)}==` };

/** The log as its readers see it who verify signatures: what none of the keys has signed is marked, for the rule in foreign.ts. */
export function verifiedLog(log: EventLog, trust: Trust): EventLog {
  return verifiedBy(
    log,
    signingState(() => trust),
  );
}

function verifiedBy(log: EventLog, state: SigningState): EventLog {
  state.readFrom(log);
  const known = (position: number) => (state.isComplete(position) ? undefined : state.load());

  const marked = (recorded: RecordedEvent, untrusted: string | undefined): RecordedEvent =>
    untrusted === undefined ? recorded : { ...recorded, untrusted };

  /** An event that may stand at any revision behind one may stand there once. A promise only where there is something between them. */
  function once(recorded: RecordedEvent): RecordedEvent | Promise<RecordedEvent> {
    const after = splitSignature(recorded.metadata)?.signature.after;
    return after === undefined || recorded.revision <= after + 1 ? recorded : lookedUp(recorded, after + 1);
  }
  async function lookedUp(recorded: RecordedEvent, from: number): Promise<RecordedEvent> {
    const { stream, revision, id, metadata } = recorded;
    for await (const earlier of log.readStream(stream, from, { limit: revision - from })) {
      if (earlier.revision >= revision) break;
      if (earlier.id === id && earlier.metadata === metadata) return marked(recorded, repeated(earlier));
    }
    return recorded;
  }
  function told(recorded: RecordedEvent, why: string | undefined): RecordedEvent | Promise<RecordedEvent> {
    return why === undefined && state.needed(recorded.position) ? once(recorded) : marked(recorded, why);
  }
  /** An event that was read at its place. Keys that were changed since may have signed what seems not to be signed. */
  async function markOne(recorded: RecordedEvent): Promise<RecordedEvent> {
    let why = state.whyUntrusted(recorded);
    if (why !== undefined && !state.isComplete(recorded.position)) {
      await state.load();
      why = state.whyUntrusted(recorded);
    }
    return told(recorded, why);
  }
  async function* each(events: AsyncIterable<RecordedEvent>): AsyncGenerator<RecordedEvent> {
    await known(0);
    for await (const recorded of events) yield markOne(recorded);
  }
  /** In the order of the log everything that matters to an event comes before it. */
  function inOrder(recorded: RecordedEvent): RecordedEvent | Promise<RecordedEvent> {
    if (isOfState(recorded.stream)) state.take(recorded);
    return told(recorded, state.whyUntrusted(recorded));
  }
  async function* all(after: number, events: AsyncIterable<RecordedEvent>): AsyncGenerator<RecordedEvent> {
    await known(after);
    for await (const recorded of events) yield inOrder(recorded);
  }
  return {
    ...log,
    readStream: (...given) => each(log.readStream(...given)),
    readAll: (after, options) =>
      options?.direction === 'backwards'
        ? each(log.readAll(after, options))
        : all(after ?? 0, log.readAll(after, options)),
    async eventAt(position) {
      await known(0);
      const recorded = await log.eventAt(position);
      return recorded && markOne(recorded);
    },
    async *subscribeAll(after, options) {
      await known(after ?? 0);
      for await (const batch of log.subscribeAll(after, options)) {
        const events: RecordedEvent[] = [];
        for (const recorded of batch.events) {
          const one = inOrder(recorded);
          events.push(one instanceof Promise ? await one : one);
        }
        yield { ...batch, events };
      }
    },
  };
}

const repeated = ({ revision, id }: RecordedEvent) => `it repeats event ${revision} of its stream, ${id}`;

/** A store whose events are signed when they are appended, and verified when they are read. */
export function signedStore(store: EventStore, { state, signer }: Signing): EventStore {
  let opened: (EventSigner & { readonly id: string }) | undefined;
  /** Where streams ended that events were appended to at any revision. */
  const ends = new LRUCache<string, number>({ maxSize: remembered, sizeCalculation: () => 1 });

  function signed(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): NewEvent[] {
    opened ??= withId(signer());
    const { id: by, sign } = opened;
    const generation = state.generation();
    const after = expected === 'any' ? (ends.get(stream) ?? -1) : undefined;
    const first = typeof expected === 'number' ? expected + 1 : 0;
    return events.map((event, i) => {
      const revision = after === undefined ? first + i : { after };
      const statement = statementOf({ ...event, stream, revision }, generation);
      const value = sign(statement).toString('base64');
      state.made(by, value, statement);
      return { ...event, metadata: withSignature(event.metadata, { by, after, value }) };
    });
  }

  const { checkSize } = store;
  return {
    ...store,
    ...verifiedBy(store, state),
    ...(checkSize && {
      checkSize: (stream: string, events: readonly NewEvent[]) =>
        checkSize(
          stream,
          events.map((event) => ({ ...event, metadata: withSignature(event.metadata, placeholder) })),
        ),
    }),
    async append(stream, expected, events) {
      if (!state.isComplete(0)) await state.load();
      const appended = await store.append(stream, expected, signed(stream, expected, events));
      if (expected === 'any') ends.set(stream, appended.revision);
      // What is signed and read from now on is by what was recorded.
      if (isOfState(stream)) await state.load();
      return appended;
    },
  };
}

function withId(signer: EventSigner): EventSigner & { readonly id: string } {
  return { ...signer, id: signingKey(signer.key).id };
}
