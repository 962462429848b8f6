/**
 * Looks each key up once and remembers what was found, nothing included.
 * @param most - of what is remembered; all is forgotten before one more
 */
export function remembering<Key, Value>(
  look: (key: Key) => Value,
  most = Number.POSITIVE_INFINITY,
): (key: Key) => Value {
  const known = new Map<Key, Value>();
  return (key) => {
    const before = known.get(key);
    if (before !== undefined || known.has(key)) return before as Value;
    const found = look(key);
    if (known.size >= most) known.clear();
    known.set(key, found);
    return found;
  };
}
