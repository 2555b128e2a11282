let isInstalled = false;

/**
 * Replaces `AbortSignal.any` in this process by one that keeps nothing. Node's own holds every signal it made and
 * somebody listens to until it is aborted; those of a killed process never are, so each would keep its whole world for
 * ever. Here the signals that are listened to know those made of them, and all go together. Installed once; tells nothing
 * that Node's own would not.
 */
export const installForgetfulSignals = (): void => {
  if (isInstalled) return;
  isInstalled = true;
  AbortSignal.any = (signals) => {
    const either = new AbortController();
    for (const signal of signals) {
      if (signal.aborted) {
        either.abort(signal.reason);
        return either.signal;
      }
    }
    const follow = (event: Event): void => {
      for (const signal of signals) signal.removeEventListener('abort', follow);
      either.abort(event.target instanceof AbortSignal ? event.target.reason : undefined);
    };
    for (const signal of signals) signal.addEventListener('abort', follow);
    return either.signal;
  };
};
