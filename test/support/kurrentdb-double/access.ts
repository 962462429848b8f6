import { type ServiceError, status } from '@grpc/grpc-js';
import type { MemoryLog } from './log.js';
import { accessDenied, callError, unauthenticated } from './protocol.js';

/** What somebody wants to do. Without a stream it is the whole log that is to be read. */
export type Wish = { readonly to: 'ask' } | { readonly to: 'read' | 'append'; readonly stream?: string };

/** Values of the authorization header by what those may do who send them; nobody needs one where the first is not given. */
export type Authorizations = {
  /** Anything. */
  readonly authorization?: string;
  /** Read everything. */
  readonly readerAuthorization?: string;
  /** What the metadata of streams say; what is the server's own not, nor the whole log unless that was allowed. */
  readonly plain?: { readonly name: string; readonly authorization: string; readonly readsAll: boolean };
};

type Call = { readonly metadata: { get(key: string): unknown[] } };

/** Says why a call is refused; undefined if it is not. */
export type Refusals = (call: Call, wish: Wish) => ServiceError | undefined;

/** Refuses what somebody may not do. Wrong credentials are refused everywhere, and none where some are needed. */
export function refusalsOf({ authorization, readerAuthorization, plain }: Authorizations, log: MemoryLog): Refusals {
  return (call, wish) => {
    const given = call.metadata.get('authorization')[0];
    if (authorization === undefined || given === authorization) return undefined;
    if (given !== undefined && given === readerAuthorization) {
      return wish.to === 'append' ? accessDenied() : undefined;
    }
    if (plain && given === plain.authorization) return mayPlain(plain, wish, log) ? undefined : accessDenied();
    if (given === undefined || String(given).startsWith('Bearer')) {
      return wish.to === 'ask' ? undefined : accessDenied();
    }
    const text = Buffer.from(String(given).replace(/^Basic /, ''), 'base64').toString();
    // Not even read.
    if (!text.includes(':')) return callError(status.UNKNOWN, 'Received HTTP status code 500');
    return unauthenticated();
  };
}

type Plain = NonNullable<Authorizations['plain']>;

/** Whether a user of no group may do this. */
function mayPlain({ name, readsAll }: Plain, wish: Wish, log: MemoryLog): boolean {
  if (wish.to === 'ask') return true;
  const { to, stream } = wish;
  if (stream === undefined) return readsAll;
  const ofMetadata = stream.startsWith('$$');
  if (stream.startsWith('$') && !ofMetadata) return false;
  const right = `$${ofMetadata ? 'm' : ''}${to === 'read' ? 'r' : 'w'}`;
  const allowed = aclOf(log, ofMetadata ? stream.slice(2) : stream)[right];
  if (allowed === undefined) return true;
  return [allowed].flat().some((one) => one === name || one === '$all');
}

type Acl = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The `$acl` in the metadata of a stream. */
function aclOf(log: MemoryLog, stream: string): Acl {
  if (log.isTombstoned(stream)) return {};
  const last = log.stream(`$$${stream}`).at(-1);
  try {
    return (JSON.parse(Buffer.from(last?.data ?? '{}').toString()) as { $acl?: Acl }).$acl ?? {};
  } catch {
    return {};
  }
}
