import type { LimitsConfig } from '../config/limits.js';
import type { ServerConfig } from '../config.js';
import type { RpcLimits } from '../rpc/http2/limits.js';
import type { CallerLimits } from '../rpc/limits/limiter.js';
import type { ShareLimits } from '../rpc/limits/shares.js';

/** What clients may take, by the settings. */
export function rpcLimits({ rpc }: Pick<ServerConfig, 'rpc'>): RpcLimits {
  return {
    maxConnections: rpc.max_connections,
    maxStreams: rpc.max_streams,
    maxResets: rpc.max_resets,
    maxHeaderBytes: rpc.max_header_bytes,
    maxRequestBytes: rpc.max_request_bytes,
    maxRefusals: rpc.max_refusals,
    maxCallsInTurn: rpc.max_calls_in_turn,
    handshakeMs: rpc.handshake_timeout * 1_000,
    keepaliveMs: rpc.keepalive_time * 1_000,
    keepaliveTimeoutMs: rpc.keepalive_timeout * 1_000,
    maxIdleMs: rpc.max_idle * 1_000,
    maxAgeMs: rpc.max_age * 1_000,
    ageGraceMs: rpc.age_grace * 1_000,
  };
}

/** What callers may take, by the settings. */
export function callerLimits({ limits }: Pick<ServerConfig, 'limits'>): CallerLimits {
  return { principals: shareLimits(limits), unauthenticated: shareLimits(limits.unauthenticated) };
}

const shareLimits = (limits: LimitsConfig['unauthenticated']): ShareLimits => ({
  calls: { perSecond: limits.calls_per_second, burst: limits.calls_burst },
  reports: { perSecond: limits.reports_per_second, burst: limits.reports_burst },
  bytes: { perSecond: limits.bytes_per_second, burst: limits.bytes_burst },
  streams: limits.streams,
  lists: limits.lists,
});
