/** What a method of a thread is given beside what it is asked. */
export type Call<Told = never> = {
  /** Aborts when nobody waits for the answer any more, or the thread is to end. */
  readonly signal: AbortSignal;
  /** Says something before the answer. It is sent at once, however much was said before: it is meant for what is little. */
  tell(told: Told): void;
  /** Hands memory over with the answer instead of having it copied. It cannot be used here any more once that is given. */
  handOver(...memory: readonly ArrayBuffer[]): void;
};

/** What a thread can be asked: methods by their names. One named `close` is not asked, but called when the thread is to end. */
export type Methods = Readonly<Record<string, (ask: never, call: Call<never>) => unknown>>;

/** How a thread begins: it makes its methods, of what it was started with. Its type is the type of the thread. */
export type OpenThread = (data: never) => Methods | Promise<Methods>;

/** What a thread is started with. */
export type DataOf<Open extends OpenThread> = Parameters<Open>[0];

/** How a call is made. */
export type CallOptions<Told = never> = {
  /** Asks the thread to break off. The call then fails as soon as the thread has, unless it had done it or fails by itself. */
  readonly signal?: AbortSignal;
  /** Called with each thing that the method tells before its answer, in that order. */
  readonly onTold?: (told: Told) => void;
  /** Memory that is handed over instead of being copied. */
  readonly handOver?: readonly ArrayBuffer[];
};

type Caller<Method> = Method extends (ask: infer Ask, call: Call<infer Told>) => infer Answer
  ? (ask: Ask, options?: CallOptions<Told>) => Promise<Awaited<Answer>>
  : never;

type MethodsOf<Open extends OpenThread> = Awaited<ReturnType<Open>>;

/** The methods of a thread as another one calls them. */
export type Calls<Open extends OpenThread> = {
  readonly [Name in Exclude<keyof MethodsOf<Open>, 'close'>]: Caller<MethodsOf<Open>[Name]>;
};

type Asked<Method> = Method extends (ask: infer Ask, call: Call<never>) => unknown ? Ask : never;

/** What a thread is asked, by whatever method. */
export type AskOf<Open extends OpenThread> = Asked<MethodsOf<Open>[Exclude<keyof MethodsOf<Open>, 'close'>]>;
