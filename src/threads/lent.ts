/** What becomes of bytes once whoever was given them has copied them. */
const backOf = new WeakMap<Uint8Array, () => void>();

/** Notes of bytes that they are given to whoever sends them, and that `back` is to be called once they were copied and nobody looks at them any more. */
export function lend(data: Uint8Array, back: () => void): void {
  backOf.set(data, back);
}

/** Says that nobody looks at bytes any more, if they were lent. Once at most. */
export function giveBack(data: Uint8Array): void {
  const back = backOf.get(data);
  backOf.delete(data);
  back?.();
}

/** Lends several bytes, some in one memory: `back` is given each memory once all that lies in it were given back. */
export function lendAll(all: Iterable<Uint8Array<ArrayBuffer>>, back: (memory: ArrayBuffer) => void): void {
  const left = new Map<ArrayBuffer, number>();
  for (const data of all) {
    const { buffer } = data;
    left.set(buffer, (left.get(buffer) ?? 0) + 1);
    lend(data, () => {
      const others = (left.get(buffer) ?? 0) - 1;
      left.set(buffer, others);
      if (others === 0) back(buffer);
    });
  }
}
