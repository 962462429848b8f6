import { type Access, unrestricted } from '../domain/access.js';
import type { Edge } from '../edge.js';

/** Who calls, and in which call. */
export type Caller = {
  readonly principal: string;
  /** What the principal may do. */
  readonly access: Access;
  readonly requestId: string;
  /** W3C traceparent, if the client sent one. */
  readonly traceparent?: string;
};

/** The caller of what the server does on its own, such as failing a job whose lease ran out. */
export function serverItself(edge: Edge): Caller {
  return { principal: 'memoir', access: unrestricted('memoir'), requestId: edge.uuid() };
}
