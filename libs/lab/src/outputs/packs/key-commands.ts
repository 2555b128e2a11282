import { setPermissionFlags } from '@interlock/access/permissions';
import type { Step } from '../../experiment.ts';

/** Names of a key of a pack: short, as the command line reads them in a resource group. */
export interface KeyNames {
  readonly vault: string;
  /** `vault/key` */
  readonly key: string;
  readonly set: string;
}

/** Commands of `interlock`, as lists of arguments. */
export interface KeyCommands {
  readonly take: readonly (readonly string[])[];
  /** Empty if it cannot be undone. */
  readonly giveBack: readonly (readonly string[])[];
}

/** The role with which a set may use a key. */
const role = 'keyVaultCryptoServiceEncryptionUser';
const permissionNames: Readonly<Record<string, string>> = { get: 'get', wrap: 'wrap-key', unwrap: 'unwrap-key' };

/** The commands of a key action; undefined if it needs an id or a time of the running cloud. */
export const keyCommands = (
  { action, options }: Pick<Step, 'action' | 'options'>,
  { vault, key, set }: KeyNames,
): KeyCommands | undefined => {
  const principal = `set:${set}`;
  const grant = ['vault', 'grant', vault, '--principal', principal, '--permissions'];
  const granted = [...grant, setPermissionFlags.join(',')];
  switch (action) {
    case 'disable-key':
      return { take: [['key', 'disable', key, '--confirm']], giveBack: [['key', 'enable', key]] };
    case 'delete-key':
      return { take: [['key', 'delete', key, '--confirm']], giveBack: [['key', 'recover', key]] };
    case 'purge-key':
      return {
        take: [
          ['key', 'delete', key, '--confirm'],
          ['key', 'purge', key, '--confirm'],
        ],
        giveBack: [],
      };
    case 'delete-vault':
      return { take: [['vault', 'delete', vault, '--confirm']], giveBack: [['vault', 'recover', vault]] };
    case 'remove-policy':
      return { take: [['vault', 'revoke', vault, principal, '--confirm']], giveBack: [granted] };
    case 'remove-permission': {
      const left = setPermissionFlags.filter((one) => one !== permissionNames[String(options.permission)]);
      return { take: [[...grant, left.join(','), '--replace', '--confirm']], giveBack: [granted] };
    }
    case 'remove-role':
      return {
        take: [['role', 'unassign', principal, role, '--confirm']],
        giveBack: [['role', 'assign', principal, role, '--scope', 'group']],
      };
    case 'switch-permission-model':
      return {
        take: [['vault', 'set-permission-model', vault, 'role-assignment', '--confirm']],
        giveBack: [['vault', 'set-permission-model', vault, 'access-policy', '--confirm']],
      };
    case 'rotate-key':
      return { take: [['key', 'rotate', key]], giveBack: [] };
    default:
      return undefined;
  }
};
