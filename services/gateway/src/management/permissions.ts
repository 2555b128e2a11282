import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';

/**
 * Checks that the caller may do an action at a scope, for what only management knows: no service decides about it.
 * @param action as roles have it, for example `management/resourceGroups/write`
 * @param scope `subscriptions/<s>[/resourceGroups/<g>]`, with Interlock ids
 * @throws RestError 403 AuthorizationFailed
 */
export type Require = (caller: Caller, action: string, scope: string) => Promise<void>;

/** Checks at identity, with the caller's own token. */
export const openRequire =
  ({ identity }: Pick<Backends, 'identity'>): Require =>
  async (caller, action, scope) => {
    const principal = `principals/${caller.principal}`;
    const { allowed } = await identity.checkPermission({ principal, action, scope }, caller.as('identity'));
    if (allowed) return;
    const message = `The client '${caller.principal}' with object id '${caller.principal}' does not have authorization to perform action '${action}' over scope '/${scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.`;
    throw new RestError(403, 'AuthorizationFailed', message);
  };
