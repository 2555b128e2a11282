import type { JsonObject } from '@bufbuild/protobuf';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';

/** Why key-vault lets nobody use a key, as it answers it; undefined while keys may be used. */
export const currentHold = async (caller: Pick<Caller, 'call'>): Promise<JsonObject | undefined> => {
  const { hold } = await caller.call('key-vault', methodOf(Service.keyVault, 'GetHold'), {});
  return isObject(hold) ? hold : undefined;
};
