/** Whether a server answers calls, and what there is to say of it in a line. */
export type ServerStatus = { readonly serving: boolean; readonly text: string };

/** Where a server's state stands, for who watches over it. */
export type StatusBoard = {
  /** Says the state. What is as it was is told to nobody. */
  say(status: ServerStatus): void;
  /** Tells the state as it is, if there is one yet, and each one after it. */
  onChange(tell: (status: ServerStatus) => void): void;
};

/** A board with nothing on it. */
export function statusBoard(): StatusBoard {
  let now: ServerStatus | undefined;
  const watchers: ((status: ServerStatus) => void)[] = [];
  return {
    say(status) {
      if (now?.serving === status.serving && now.text === status.text) return;
      now = status;
      for (const tell of watchers) tell(status);
    },
    onChange(tell) {
      watchers.push(tell);
      if (now) tell(now);
    },
  };
}
