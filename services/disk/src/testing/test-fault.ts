/** Fails the calls of wrapped objects by number, as when the process or one of its dependencies dies. */
export interface Faults {
  /** Calls made since the last `arm`. */
  calls(): number;
  /**
   * The call with that number fails; in a crash every later one too. Numbers begin at 1.
   * @param error creates the error of the call
   */
  arm(failAt: number, mode: 'once' | 'crash', error?: (text: string) => Error): void;
  disarm(): void;
  /** The object with methods that may fail before they do anything. Objects they return are not wrapped unless `deep` does. */
  wrap<Target extends object>(target: Target, deep?: (answer: unknown) => unknown): Target;
}

/** An error of a dependency, not of the code. */
export class InjectedFault extends Error {
  override readonly name = 'InjectedFault';
}

/** Creates faults that are not armed. */
export const createFaults = (): Faults => {
  const injected = (text: string): Error => new InjectedFault(text);
  const armed: { failAt: number; mode: 'once' | 'crash'; error: (text: string) => Error } = {
    failAt: Number.POSITIVE_INFINITY,
    mode: 'once',
    error: injected,
  };
  let calls = 0;
  const meet = (what: string): void => {
    calls += 1;
    const fails = armed.mode === 'once' ? calls === armed.failAt : calls >= armed.failAt;
    if (fails) throw armed.error(`call ${calls} of ${what} was made to fail`);
  };
  return {
    calls: () => calls,
    arm: (failAt, mode, error = injected) => {
      calls = 0;
      Object.assign(armed, { failAt, mode, error });
    },
    disarm: () => {
      calls = 0;
      armed.failAt = Number.POSITIVE_INFINITY;
    },
    wrap: (target, deep = (answer) => answer) =>
      new Proxy(target, {
        get: (object, name) => {
          const method: unknown = Reflect.get(object, name);
          // Closing works whatever happens; `size` and `definition` are no calls.
          if (typeof method !== 'function' || name === 'close' || name === 'size') return method;
          return async (...args: unknown[]) => {
            meet(String(name));
            return deep(await Reflect.apply(method, object, args));
          };
        },
      }),
  };
};
