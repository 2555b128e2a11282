import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { NotSettled } from '../commands/settle.ts';
import type { Caller } from '../request/calls.ts';
import { methodOf, Service } from '../request/schema.ts';
import { askingBeside } from './asking-beside.ts';
import { type Known, type KnownHold, type KnownVault, vaultInQuestion } from './hints.ts';
import { currentHold } from './hold.ts';

/** Looks at the vault that a missing grant is about; undefined where there is none, or the caller is not told. */
export async function lookAtVault(
  { call }: Pick<Caller, 'call'>,
  reason: string,
  facts: Readonly<Record<string, string>>,
): Promise<KnownVault | undefined> {
  const name = vaultInQuestion(reason, facts);
  if (name === undefined) return undefined;
  try {
    const vault = await call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name });
    return { permissionModel: String(vault.permissionModel), resourceGroup: String(vault.resourceGroup) };
  } catch (error) {
    // A hint is worth a question, and no failure of its own: it names both ways then.
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
}

/** Whether it is a hold by which the vault gives no answer; undefined where it is none, or the caller is not told. */
async function lookAtHold(caller: Pick<Caller, 'call'>): Promise<KnownHold | undefined> {
  try {
    const hold = await currentHold(caller);
    return hold === undefined ? undefined : { hold: String(hold.holdId) };
  } catch (error) {
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
}

/** The same for what a command failed with. */
export const lookBehind = async (caller: Pick<Caller, 'call'>, error: unknown): Promise<Known | undefined> => {
  if (!(error instanceof Rejection || error instanceof NotSettled)) return undefined;
  const aside = askingBeside(caller);
  return error.reason === 'KEY_VAULT_UNREACHABLE'
    ? lookAtHold(aside)
    : lookAtVault(aside, error.reason, error.metadata);
};
