import gossipPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';

/**
 * What a node does beyond leading or following: it starts, joins the others, is about to lead, gives its lead away (and then lets writes hang),
 * is cut off from the others (and first answers writes that it had no time, then that it gave them up), has noticed that, ends.
 */
export type Mode =
  | 'serving'
  | 'starting'
  | 'joining'
  | 'cloning'
  | 'about to lead'
  | 'resigning'
  | 'resigned'
  | 'cut off'
  | 'giving up'
  | 'without others'
  | 'ending'
  | 'hanging';

const States = gossipPb.MemberInfo.VNodeState;
export type State = (typeof States)[keyof typeof States];

const states: Readonly<Partial<Record<Mode, State>>> = {
  starting: States.INITIALIZING,
  joining: States.PREREPLICA,
  cloning: States.CLONE,
  'about to lead': States.PRELEADER,
  resigning: States.RESIGNINGLEADER,
  resigned: States.RESIGNINGLEADER,
  'without others': States.UNKNOWN,
  ending: States.SHUTTINGDOWN,
  hanging: States.SHUTTINGDOWN,
};

/** What the cluster is told of a node in this mode. */
export const stateOf = (mode: Mode, leads: boolean): State => states[mode] ?? (leads ? States.LEADER : States.FOLLOWER);

/** What becomes of a write: it is taken, refused, never answered, or taken without its showing, with this for an answer. */
export type WriteFate = 'taken' | 'refused' | 'unanswered' | { readonly unseen: string };

/** What becomes of a write at a node in this mode. */
export function writesIn(mode: Mode): WriteFate {
  switch (mode) {
    case 'serving':
      return 'taken';
    case 'resigned':
      return 'unanswered';
    case 'cut off':
      return { unseen: 'Operation timed out: Commit phase timeout.' };
    case 'giving up':
      return { unseen: 'Operation timed out: Request canceled by server' };
    default:
      return 'refused';
  }
}

const neverRead: readonly Mode[] = ['starting', 'joining', 'cloning', 'ending'];

/** Whether a read is refused in this mode. */
export const refusesRead = (mode: Mode, leaderWanted: boolean): boolean =>
  neverRead.includes(mode) || (leaderWanted && mode === 'without others');

const unconfirmed: readonly Mode[] = ['starting', 'joining', 'cloning', 'about to lead'];

/** Whether a subscription is left open without its confirmation until the mode is another. */
export const confirmsLater = (mode: Mode): boolean => unconfirmed.includes(mode);

/** What a node that ends does next; a real one hangs after 90 ms, and resets after 5 s. */
export type Ending = {
  /** Leaves new calls without an answer. */
  hang(): void;
  /** Resets what is open, which never gets a status. */
  reset(): void;
};

/** The calls of a server by grpc-js, as far as it shows them. */
type OpenCall = { readonly call?: { readonly stream?: { close(code: number): void } } };

/** The mode of a node, and what is open there. */
export function modes() {
  const open = new Set<OpenCall>();
  const waiting = new Set<() => void>();
  let mode: Mode = 'serving';
  function become(next: Mode): void {
    mode = next;
    for (const go of waiting) go();
  }
  return {
    mode: (): Mode => mode,
    become,
    /** Resolves once subscriptions are confirmed; never if the call is cancelled before. */
    async confirming(): Promise<void> {
      while (confirmsLater(mode)) {
        await new Promise<void>((resolve) => {
          const go = () => {
            waiting.delete(go);
            resolve();
          };
          waiting.add(go);
        });
      }
    },
    /** Takes note of a call that lasts until it is ended by a client, or by the node's end. */
    track(call: object & { on(event: 'close' | 'cancelled', listener: () => void): unknown }): void {
      open.add(call as OpenCall);
      const forget = () => open.delete(call as OpenCall);
      call.on('close', forget);
      call.on('cancelled', forget);
    },
    /** Refuses calls from now on. */
    end(): Ending {
      become('ending');
      return {
        hang: () => become('hanging'),
        reset() {
          for (const { call } of open) call?.stream?.close(0);
        },
      };
    },
  };
}

/** The mode of a node, and what is open there. */
export type Modes = ReturnType<typeof modes>;
