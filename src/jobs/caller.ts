import { type Access, unrestricted } from '../domain/access.js';
import type { Credential } from '../domain/callers/credential.js';
import type { Edge } from '../edge.js';

/** Who calls, and in which call. */
export type Caller = {
  readonly principal: string;
  /** What proves that; absent where the caller named itself. */
  readonly credential?: Credential;
  /** What the principal may do. */
  readonly access: Access;
  readonly requestId: string;
  /** W3C traceparent, if the client sent one. */
  readonly traceparent?: string;
  /**
   * Is called before anything is recorded for the call. What nobody waits for any more is not begun, but what was begun is finished.
   * @throws MemoirError CANCELLED or DEADLINE_EXCEEDED if nobody waits for the answer and nothing was recorded before
   */
  readonly begin?: () => void;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal?: () => AbortSignal;
};

/** The caller of what the server does on its own, such as failing a job whose lease ran out. */
export function serverItself(edge: Edge): Caller {
  return { principal: 'memoir', access: unrestricted('memoir'), requestId: edge.uuid() };
}
