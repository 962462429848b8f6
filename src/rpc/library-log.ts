import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/**
 * Has grpc-js say nothing on standard error by itself: what it would say stands in the error of the call. GRPC_VERBOSITY asks for it all the
 * same, as everywhere. Nor does Node.js warn of grpc-js, which tells the address of a server as its name where that has none (DEP0123).
 */
export function quietLibrary(): void {
  const warn = process.emitWarning as (...args: unknown[]) => void;
  process.emitWarning = (...args: unknown[]) => {
    if (!args.includes('DEP0123')) warn.apply(process, args);
  };
  const asked = process.env.GRPC_NODE_VERBOSITY ?? process.env.GRPC_VERBOSITY;
  if (asked === undefined) setLogVerbosity(logVerbosity.NONE);
}
