import type { ServerConfig } from '../config.js';
import type { RpcLimits } from '../rpc/http2/limits.js';

/** What clients may take, by the settings. */
export function rpcLimits({ rpc }: Pick<ServerConfig, 'rpc'>): RpcLimits {
  return {
    maxConnections: rpc.max_connections,
    maxStreams: rpc.max_streams,
    maxResets: rpc.max_resets,
    maxHeaderBytes: rpc.max_header_bytes,
    maxRequestBytes: rpc.max_request_bytes,
  };
}
