import { type Implied, isOf, type Seen, type Timeline } from './history.ts';

/** The causes that the data of a vault's, key's, principal's or role's event imply. */
export const causesOfKeyOrPrincipal = (line: Timeline, event: Seen): readonly Implied[] => {
  const { type, data } = event;
  const timer = (isWanted: (before: Seen) => boolean): readonly Implied[] => [
    { kinds: ['timer'], anyOf: line.newestBefore(event, isWanted) },
  ];
  switch (type) {
    case 'KeyVersionExpired':
    case 'KeyVersionBegan':
      return timer(
        (one) =>
          (isOf('KeyVersionCreated', 'KeyVersionDatesSet')(one) && one.data.version === data.version) ||
          one.type === 'KeyRestored',
      );
    case 'GrantsChanged':
      return [{ kinds: ['message'], anyOf: line.at('identity', data.position) }];
    case 'IdentityAnswerChanged':
      // A user's change of a set may have made the call, so nothing came before it. One call may concern two keys of a vault.
      return [
        { kinds: ['call'], anyOf: () => true, isOptional: true },
        { kinds: ['step'], anyOf: answersOfSameCall(line, event), isOptional: true },
      ];
    case 'VaultPurgeStarted':
      return line.isRequested(event) ? [] : timer(isOf('VaultDeleted'));
    case 'VaultPurged':
      return [{ kinds: ['step'], anyOf: line.newestBefore(event, isOf('VaultPurgeStarted')) }];
    case 'KeyPurged':
      return purged(line, event);
    case 'PrincipalCreated':
      return data.principalType === 'managed_identity'
        ? [{ kinds: ['call'], anyOf: line.ofStream(`set-${data.owner}`) }]
        : [];
    case 'PrincipalDeleted':
      return line.isRequested(event) ? [] : [{ kinds: ['call'], anyOf: line.ofStream(`set-${data.owner}`) }];
    case 'RoleRemoved':
      return removedRole(line, event);
    default:
      return [];
  }
};

const answersOfSameCall = (line: Timeline, { stream, version, cause }: Seen): readonly Seen[] =>
  line
    .ofStream(stream)
    .filter(isOf('IdentityAnswerChanged'))
    .filter((one) => one.version < version && one.cause.correlationId === cause.correlationId);

/** With its vault, after its time, or by request. */
const purged = (line: Timeline, event: Seen): readonly Implied[] => {
  const vault = event.stream.split('/')[1] ?? '';
  const withVault = line.ofStream(`vault-${vault}`).filter(isOf('VaultPurgeStarted'));
  const after = line.newestBefore(event, isOf('KeyDeleted'));
  const implied: Implied = { kinds: ['step', 'timer'], anyOf: [...withVault, ...after] };
  return [line.isRequested(event) ? { ...implied, isOptional: true } : implied];
};

/** With its vault, with its principal, or by request. */
const removedRole = (line: Timeline, { data, cause }: Seen): readonly Implied[] => {
  const vault = /\/vaults\/([^/]+)/.exec(`${data.scope}/`)?.[1];
  const ofVault = vault === undefined ? [] : line.ofStream(`vault-${vault}`).filter(isOf('VaultDeleted'));
  const isWithVault = ofVault.filter((one) => one.cause.correlationId === cause.correlationId);
  if (isWithVault.length > 0) return [{ kinds: ['message'], anyOf: isWithVault }];
  return [{ kinds: ['call'], anyOf: isOf('SetReleased', 'IdentityRemoved', 'IdentityReplaced'), isOptional: true }];
};
