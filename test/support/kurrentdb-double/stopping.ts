/** How a node answers: as usual, that it is not ready, or not at all. */
export type Phase = 'serving' | 'refusing' | 'hanging';

/** What a node that ends does next; a real one hangs after 90 ms, and resets after 5 s. */
export type Ending = {
  /** Leaves new calls without an answer. */
  hang(): void;
  /** Resets what is open, which never gets a status. */
  reset(): void;
};

/** The calls of a server by grpc-js, as far as it shows them. */
type OpenCall = { readonly call?: { readonly stream?: { close(code: number): void } } };

/** What a node does from SIGTERM to its end. */
export function stopping() {
  const open = new Set<OpenCall>();
  let phase: Phase = 'serving';
  return {
    phase: (): Phase => phase,
    /** Takes note of a call that lasts until it is ended by a client, or by the node's end. */
    track(call: object & { on(event: 'close' | 'cancelled', listener: () => void): unknown }): void {
      open.add(call as OpenCall);
      const forget = () => open.delete(call as OpenCall);
      call.on('close', forget);
      call.on('cancelled', forget);
    },
    /** Refuses calls from now on. */
    begin(): Ending {
      phase = 'refusing';
      return {
        hang() {
          phase = 'hanging';
        },
        reset() {
          for (const { call } of open) call?.stream?.close(0);
        },
      };
    },
  };
}

/** What a node does from SIGTERM to its end. */
export type Stopping = ReturnType<typeof stopping>;
