type Listener = Parameters<AbortSignal['addEventListener']>[1];

/** The event that listeners receive. The signal has the reason. */
const happened = new Event('abort');

/** An error of a listener is uncaught, and does not keep the other listeners from being called. */
const call = (listener: Listener): void => {
  try {
    if (typeof listener === 'function') listener(happened);
    else listener.handleEvent(happened);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
};

/** A signal that consists of a list of listeners only. */
class ForgetfulSignal implements AbortSignal {
  onabort: AbortSignal['onabort'] = null;
  aborted = false;
  #reason: unknown;
  /** Created for the first listener, because most signals never have one. In order, and each once. */
  #listeners: Set<Listener> | undefined;

  static abort(reason?: unknown): AbortSignal {
    const controller = new ForgetfulController();
    controller.abort(reason);
    return controller.signal;
  }
  static any(signals: readonly AbortSignal[]): AbortSignal {
    const either = new ForgetfulController();
    const follow = (): void => {
      for (const signal of signals) signal.removeEventListener('abort', follow);
      either.abort(signals.find(({ aborted }) => aborted)?.reason);
    };
    if (signals.some(({ aborted }) => aborted)) follow();
    else for (const signal of signals) signal.addEventListener('abort', follow);
    return either.signal;
  }
  static timeout(): never {
    throw new Error('no signal of virtual time is aborted by real time: use an alarm of the clock');
  }

  /** Created when it is read, because an error with its stack takes longer than all the rest of an abort. */
  get reason(): unknown {
    if (this.aborted && this.#reason === undefined) {
      this.#reason = new DOMException('This operation was aborted', 'AbortError');
    }
    return this.#reason;
  }
  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }
  addEventListener(type: string, listener: Listener): void {
    // The event happens once, so every listener is a `once` listener, and one that is added later is never called.
    if (type !== 'abort' || this.aborted) return;
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
  }
  removeEventListener(type: string, listener: Listener): void {
    if (type === 'abort') this.#listeners?.delete(listener);
  }
  dispatchEvent(): never {
    throw new Error('a signal is aborted by its controller alone');
  }

  /** For its controller alone. */
  abortFor(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.#reason = reason;
    this.onabort?.(happened);
    // A listener that another one removes before its turn is not called.
    for (const listener of this.#listeners ?? []) call(listener);
    this.#listeners = undefined;
  }
}

class ForgetfulController implements AbortController {
  readonly signal = new ForgetfulSignal();
  abort(reason?: unknown): void {
    this.signal.abortFor(reason);
  }
}

/**
 * Replaces `AbortController` and `AbortSignal` in this process by versions that keep nothing and cost little. Node's own are event
 * targets: it validates, wraps and registers each of the 5,000 listeners of a history, and keeps each combined signal in
 * registries until these are cleaned up. Installed once. Programs see no difference to Node's own.
 */
export const installForgetfulSignals = (): void => {
  globalThis.AbortController = ForgetfulController;
  globalThis.AbortSignal = ForgetfulSignal;
};
