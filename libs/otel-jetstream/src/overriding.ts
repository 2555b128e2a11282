/**
 * The object with some of its members replaced. Everything else is read from the object itself, so a class keeps its private state.
 * @param members the replacements, by name
 */
export const overriding = <Target extends object>(target: Target, members: Partial<Target>): Target => {
  const replaced = new Map<PropertyKey, unknown>(
    Reflect.ownKeys(members).map((key) => [key, Reflect.get(members, key)]),
  );
  return new Proxy(target, {
    get(_, key) {
      if (replaced.has(key)) return replaced.get(key);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (_, key, value) => Reflect.set(target, key, value, target),
  });
};
