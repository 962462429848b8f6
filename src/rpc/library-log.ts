import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/**
 * Has grpc-js say nothing on standard error by itself: what it would say stands in the error of the call. GRPC_VERBOSITY asks for it all the
 * same, as everywhere.
 */
export function quietLibrary(): void {
  const asked = process.env.GRPC_NODE_VERBOSITY ?? process.env.GRPC_VERBOSITY;
  if (asked === undefined) setLogVerbosity(logVerbosity.NONE);
}
