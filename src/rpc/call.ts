import type { Deadline, Metadata } from '@grpc/grpc-js';
import type { Access } from '../domain/access.js';
import { endOf, principalOfWho, type Who } from '../domain/callers/credential.js';
import { MemoirError } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import type { Caller } from '../jobs/caller.js';
import { type AttemptClaim, claimOf } from './claim-header.js';
import { badPrincipal } from './http2/call-headers.js';

/** What a handler knows of its call beside the request. */
export type CallContext = {
  readonly caller: Caller;
  /** What the caller may do now, which a changed policy makes another than `caller.access` while a stream goes on. */
  access(): Access;
  /** The attempt that the call speaks for beside its request, as calls for content do; undefined for none. @throws MemoirError BAD_CLAIM */
  claim(): AttemptClaim | undefined;
  /** Aborts when the client is gone or its deadline passed, or when the server shuts down; see `shutdownReason`. */
  readonly signal: AbortSignal;
};

/** Tells who calls. @throws MemoirError if the caller cannot be told */
export type Authenticate = (call: Pick<ServerCall, 'metadata'>) => Who;

/** Tells what who calls may do. @throws MemoirError UNAUTHENTICATED if its credentials do not go together */
export type Authorise = (who: Who) => Access;

/** What is used of any kind of grpc-js server call. */
export type ServerCall = {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getDeadline(): Deadline;
  /** Address and port that it is from. */
  getPeer(): string;
  on(event: 'cancelled', listener: () => void): unknown;
};

/** The calls under way. */
export type Calls = {
  /** What a handler may know of a call. */
  context(call: ServerCall): CallContext;
  /** Forgets a call that has ended. */
  ended(context: CallContext): void;
  /** Aborts the signal of all calls, now and to come, so that what waits or streams ends: by a shutdown unless another reason is given. */
  drain(reason?: MemoirError): void;
  /** Ends what waits or streams for whoever proved by a credential who calls, and proves it no more. */
  endUnproven(): void;
};

/** Why a signal was aborted when the server shuts down; the status of streams that end by it. */
export const shutdownReason = new MemoirError('UNAVAILABLE', 'SHUTTING_DOWN', 'the server is shutting down');

/**
 * The principal that the metadata names, "anonymous" if none. Trusts the client, so it is for servers that only this machine
 * can reach.
 */
export function principalFromMetadata({ metadata }: Pick<ServerCall, 'metadata'>): string {
  const [principal] = metadata.get('memoir-principal');
  if (principal === undefined) return 'anonymous';
  const text = String(principal);
  const bad = badPrincipal(text);
  if (bad) throw bad;
  return text;
}

/** The same where a policy says who may do what, which it cannot of nobody. */
export function namedPrincipal(call: Pick<ServerCall, 'metadata'>): string {
  if (call.metadata.get('memoir-principal').length > 0) return principalFromMetadata(call);
  throw new MemoirError(
    'UNAUTHENTICATED',
    'NO_PRINCIPAL',
    'the call names no principal: metadata memoir-principal is missing, or begins or ends with a space and was left out on the way',
  );
}

/** Starts without any call. */
export function openCalls(authenticate: Authenticate, authorise: Authorise, edge: Edge): Calls {
  const waiting = new Map<CallContext, AbortController>();
  let draining: MemoirError | undefined;

  function abortable(context: CallContext, call: ServerCall): AbortController {
    const controller = new AbortController();
    if (draining) controller.abort(draining);
    else if (call.cancelled) controller.abort();
    else waiting.set(context, controller);
    call.on('cancelled', () => controller.abort());
    return controller;
  }

  // A class, since an object with a getter of its own costs more to make than all the rest of it.
  class Context implements CallContext {
    readonly caller: Caller;
    readonly access: () => Access;
    readonly claim: () => AttemptClaim | undefined;
    readonly #call: ServerCall;
    #controller: AbortController | undefined;

    constructor(call: ServerCall) {
      const caller = callerOf(call, authenticate, authorise, edge, () => this.signal);
      this.caller = caller;
      this.access = () => authorise(caller.credential ?? caller.principal);
      this.claim = () => claimOf(call.metadata);
      this.#call = call;
    }

    /** Made only where it is used: most calls never wait. */
    get signal(): AbortSignal {
      this.#controller ??= abortable(this, this.#call);
      return this.#controller.signal;
    }
  }

  return {
    context: (call) => new Context(call),
    ended: (made) => void waiting.delete(made),
    drain(reason = shutdownReason) {
      draining ??= reason;
      for (const controller of waiting.values()) controller.abort(reason);
    },
    endUnproven() {
      for (const [context, controller] of waiting) {
        const reason = unproven(context, edge.now());
        if (reason) controller.abort(reason);
      }
    },
  };
}

/** Why a call is no more of whom it was begun by; undefined if it is. */
function unproven({ caller, access }: CallContext, now: number): MemoirError | undefined {
  const end = caller.credential && endOf(caller.credential, now);
  if (end || !caller.credential?.actor) return end;
  try {
    access();
    return undefined;
  } catch (error) {
    if (error instanceof MemoirError) return error;
    throw error;
  }
}

/** The client's own identifier of its call; undefined if it gave none that can be kept. */
export function requestIdOf(given: unknown): string | undefined {
  return typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : undefined;
}

/**
 * Why nobody waits for a call any more; undefined if somebody does. The deadline is looked at too, since a busy process may come to
 * a call before it comes to the timer or the message that would tell; grpc-js counts it by the wall clock.
 */
export function goneReason(call: Pick<ServerCall, 'cancelled' | 'getDeadline'>): MemoirError | undefined {
  if (Number(call.getDeadline()) <= Date.now()) {
    return new MemoirError('DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'the deadline of the call has passed');
  }
  return call.cancelled ? new MemoirError('CANCELLED', 'CLIENT_GONE', 'the client gave the call up') : undefined;
}

/** The same of a call whose signal was aborted, which says no more than that unless the server shuts down. */
export function goneByItself({ reason }: AbortSignal): MemoirError {
  return reason instanceof MemoirError
    ? reason
    : new MemoirError('CANCELLED', 'CLIENT_GONE', 'nobody waits for it any more');
}

function callerOf(
  call: ServerCall,
  authenticate: Authenticate,
  authorise: Authorise,
  edge: Edge,
  signal: () => AbortSignal,
): Caller {
  const { metadata } = call;
  const who = authenticate(call);
  const principal = principalOfWho(who);
  const [requestId] = metadata.get('x-request-id');
  const [traceparent] = metadata.get('traceparent');
  const traced =
    typeof traceparent === 'string' && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent);
  let begun = false;
  return {
    principal,
    access: authorise(who),
    ...(typeof who !== 'string' && { credential: who }),
    signal,
    begin() {
      const gone = begun ? undefined : goneReason(call);
      if (gone) throw gone;
      begun = true;
    },
    requestId: requestIdOf(requestId) ?? edge.uuid(),
    ...(traced && { traceparent }),
  };
}
