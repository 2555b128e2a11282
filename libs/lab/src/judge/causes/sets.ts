import { type Implied, isOf, type Seen, type Timeline } from './history.ts';

const nameOf = ({ stream }: Seen): string => stream.slice('set-'.length);

/** The causes that the data of a set's event imply. */
export const causesOfSet = (line: Timeline, event: Seen): readonly Implied[] => {
  const { type, data } = event;
  const step = (...types: readonly string[]): Implied => ({
    kinds: ['step'],
    anyOf: line.newestBefore(event, isOf(...types)),
  });
  switch (type) {
    case 'SetCreated':
    case 'SetCreationAbandoned':
      return [step('SetCreating'), principal('PrincipalCreated', data.principal, type !== 'SetCreated')];
    case 'SetReleased':
    case 'SetDeleteRefused':
      return [step('SetDeleting')];
    case 'SetDeleted':
      return [step('SetReleased'), principal('PrincipalDeleted', undefined, true)];
    case 'IdentityRetired':
      return [step('IdentityRemoved', 'IdentityReplaced'), principal('PrincipalDeleted', data.principal, true)];
    case 'IdentityMade':
      return [step('IdentityReplaced', 'IdentityRemoved'), principal('PrincipalCreated', data.principal, true)];
    case 'RotationProgressed':
    case 'RotationWaiting':
    case 'RotationFinished':
      return [rotation(line, event), moves(event)];
    case 'NewestFollowed':
    case 'NewestNotFollowed':
      return [step('SetCreated', 'SetOptionsChanged', 'NewerVersionNoticed')];
    case 'NewerVersionNoticed':
      return [{ kinds: ['message'], anyOf: line.at('key-vault', data.position) }];
    case 'KeyAssigned':
      return assigned(line, event, step('SetCreated', 'SetOptionsChanged', 'NewerVersionNoticed'));
    case 'KeyAccessLost':
    case 'KeyAccessBarred':
    case 'KeyAccessQuestioned':
    case 'KeyAccessAnswered':
    case 'KeyAccessRestored':
      return access(line, event);
    default:
      return [];
  }
};

/** By request, or because the set follows its key. Following may also act for the user whose request came last. */
const assigned = (line: Timeline, event: Seen, following: Implied): readonly Implied[] => {
  return [line.isRequested(event) ? { ...following, isOptional: true } : following];
};

const rotation = (line: Timeline, event: Seen): Implied => ({
  kinds: ['step'],
  anyOf: line.newestBefore(
    event,
    ({ type, data }) =>
      isOf('KeyAssigned', 'IdentityReplaced', 'RotationProgressed', 'RotationWaiting', 'RotationResumed')({ type }) &&
      data.generation === event.data.generation,
  ),
});

/** The disks and snapshots that moved to the generation, also those that a change of encryption put under it in between. */
const moves = (event: Seen): Implied => ({
  kinds: ['answer'],
  anyOf: (one) =>
    isOf('DekRewrapped', 'SnapshotDekRewrapped', 'DiskEncryptionChanged')(one) &&
    (one.data.set ?? one.data.encryption?.set) === nameOf(event) &&
    one.data.generation === event.data.generation,
  isOptional: true,
});

const principal = (type: string, name: string | undefined, isOptional: boolean): Implied => ({
  kinds: ['answer'],
  anyOf: (one) =>
    one.type === type && (name === undefined || `principals/${one.stream.slice('principal-'.length)}` === name),
  ...(isOptional ? { isOptional: true as const } : {}),
});

const anyAnswer = (): Implied => principal('PrincipalCreated', undefined, true);

/** Every event of a key version's key and vault: a question that is repeated has the number of the first. */
const ofKey = (line: Timeline, keyVersion: string): readonly Seen[] => {
  const [key = ''] = keyVersion.split('/versions/');
  return [...line.ofStream(`key-${key}`), ...line.ofStream(`vault-${key.split('/')[1]}`)];
};

/** A fact of the vault or of identity, or a response to a call. */
const access = (line: Timeline, event: Seen): readonly Implied[] => {
  const { data, type } = event;
  const asked = line.newestBefore(
    event,
    (one) =>
      isOf('KeyAccessQuestioned', 'KeyAccessLost', 'KeyAccessBarred')(one) && one.data.keyVersion === data.keyVersion,
  );
  const isAnswer = type === 'KeyAccessAnswered' || type === 'KeyAccessRestored';
  const facts = isAnswer
    ? []
    : [...line.at('key-vault', data.epoch), ...ofKey(line, data.keyVersion), ...line.ofType('PrincipalDeleted')];
  return [{ kinds: ['message', 'step'], anyOf: [...asked, ...facts] }, anyAnswer()];
};
