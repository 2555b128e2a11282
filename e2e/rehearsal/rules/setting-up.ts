import { shortName } from '@interlock/lab/short-name';
import { judged } from './lab.ts';
import { stoppedByDeletion } from './losing.ts';
import { all, each, finding, listed, rule, shortVersion } from './rule.ts';

/** Rules about who does what in the workflow (CMK-01 to CMK-11). */
export const settingUpRules = [
  rule(
    'CMK-01',
    'A vault administrator creates the vault',
    ['vault', 'people', 'audit'],
    ({ vault, people, audit }) => {
      const put = audit.find(({ operation, result }) => operation === 'VaultPut' && result === 'SUCCESS');
      return [
        finding(
          vault.state === 'ACTIVE' && vault.purgeProtectionEnabled && vault.softDeleteRetentionDays >= 7,
          `${vault.name} is ${vault.state}, purge protection ${vault.purgeProtectionEnabled ? 'on' : 'off'}, deleted keys kept ${vault.softDeleteRetentionDays} days`,
        ),
        finding(
          put?.caller === people.vaultAdministrator,
          `the vault’s record has its creation by ${put?.caller ?? 'no principal'}`,
        ),
      ];
    },
  ),

  rule('CMK-02', 'The vault makes an RSA key, or takes one that is brought', ['keys'], ({ keys }) => [
    finding(
      keys.generated.origin === 'GENERATED' && keys.generated.keySizeBits === 2048,
      `${shortVersion(keys.generated.name)} is ${keys.generated.origin}, ${keys.generated.keySizeBits} bits`,
    ),
    finding(
      keys.imported.origin === 'IMPORTED' && keys.isOwnMaterial,
      `${shortVersion(keys.imported.name)} is ${keys.imported.origin}, and its modulus is ${keys.isOwnMaterial ? '' : 'not '}that of the key brought`,
    ),
  ]),

  rule(
    'CMK-03',
    'A disk encryption set ties many disks to one key in a vault',
    ['sets', 'vault', 'disks', 'rotation'],
    ({ sets, vault, disks, rotation }) => [
      each(
        sets,
        ({ keyUrl, wantedKeyUrl, sourceVault, provisioningState }) =>
          keyUrl === wantedKeyUrl && sourceVault === vault.name && provisioningState === 'SUCCEEDED',
        ({ name, keyUrl, sourceVault }) => `${shortName(name)} names ${keyUrl} of ${sourceVault}`,
      ),
      finding(
        rotation.resources.length > 1 &&
          rotation.resources.length === disks.filter((d) => d.set === sets[0]?.name).length,
        `${rotation.resources.length} disks are listed under the set, ${disks.filter((d) => d.set === sets[0]?.name).length} disks name it`,
      ),
    ],
  ),

  rule('CMK-04', 'Creating a set creates a managed identity for it', ['sets'], ({ sets }) => [
    each(
      sets,
      ({ name, identity }) =>
        identity.type === 'MANAGED_IDENTITY' && identity.owner === name && identity.state === 'ACTIVE',
      ({ principal, identity }) =>
        `${principal} is an ${identity.state} ${identity.type} of ${shortName(identity.owner)}`,
    ),
    finding(
      new Set(sets.map(({ principal }) => principal)).size === sets.length,
      `${sets.length} sets have ${new Set(sets.map(({ principal }) => principal)).size} different identities`,
    ),
  ]),

  rule(
    'CMK-05',
    'A set without a grant is created; the missing grant shows at the first disk, which then works once granted',
    ['sets', 'grants'],
    ({ sets, grants }) => [
      each(
        sets,
        ({ provisioningState, isGrantedAtCreation }) => provisioningState === 'SUCCEEDED' && !isGrantedAtCreation,
        ({ name, provisioningState, isGrantedAtCreation }) =>
          `${shortName(name)} ${provisioningState} with ${isGrantedAtCreation ? 'a' : 'no'} grant in the vault`,
      ),
      finding(
        grants.firstDisk.outcome === 'refused' && grants.firstDisk.reason === 'ACCESS_DENIED',
        `the first disk was ${grants.firstDisk.outcome}: ${grants.firstDisk.reason} ${grants.firstDisk.message}`,
      ),
      finding(
        grants.afterwards.reason === 'DISK_NOT_FOUND',
        `of it is left: ${grants.afterwards.reason || grants.afterwards.outcome}`,
      ),
      finding(grants.complete.outcome === 'done', `with the grant the same disk was ${grants.complete.outcome}`),
    ],
  ),

  rule(
    'CMK-06',
    'A VM user puts new and existing disks under the set, without any permission on the vault',
    ['people', 'disks', 'move', 'sets'],
    ({ people, disks, move, sets }) => {
      const house = sets[0]?.name ?? '';
      const under = disks.filter(({ set }) => set === house);
      const classes = new Set(under.map(({ sku }) => sku));
      return [
        finding(
          classes.size === 5,
          `${under.length} disks of ${classes.size} classes are under the set: ${listed([...classes])}`,
        ),
        finding(
          move.before.set === '' && move.after.set === house && move.after.keyVersion !== '' && move.isContentSame,
          `${shortName(move.disk)} went from ${move.before.type} to ${move.after.type}, its content is ${move.isContentSame ? 'the same' : 'changed'}`,
        ),
        each(
          people.vmUserAtVault,
          ({ outcome, reason }) => outcome === 'refused' && reason === 'ACCESS_DENIED',
          ({ what, reason, outcome }) => `${what} (${reason || outcome})`,
          'at the vault the VM user was refused: ',
        ),
      ];
    },
  ),

  rule(
    'CMK-07',
    'Only the disk service uses the key, and only as the identity of the set',
    ['audit', 'sets', 'people'],
    ({ audit, sets, people }) => {
      const identities = sets.map(({ principal }) => principal);
      const uses = audit.filter(({ operation, result }) => isUse(operation) && result === 'SUCCESS');
      const refused = audit.filter(({ caller, result }) => caller === people.vmUser && result === 'REFUSED');
      return [
        all(
          uses,
          ({ caller }) => identities.includes(caller),
          (seen) =>
            `${seen.length} uses of keys are on record, by ${listed([...new Set(seen.map(({ caller }) => caller))])}`,
        ),
        finding(refused.length > 0, `${refused.length} tries of the VM user are on record as refused`),
      ];
    },
  ),

  rule(
    'CMK-08',
    'The vault wraps and unwraps data keys; data itself never goes through the RSA key',
    ['audit', 'machines', 'disks', 'files'],
    ({ audit, machines, disks, files }) => {
      const under = disks.filter(({ set }) => set !== '');
      const used = (name: string, operations: readonly string[]) =>
        audit.some(
          ({ operation, resource, result }) =>
            result === 'SUCCESS' && resource === name && operations.includes(operation),
        );
      const operations = machines.reduce((sum, { io }) => sum + io.reads + io.writes, 0);
      const uses = audit.filter(({ operation }) => isUse(operation)).length;
      return [
        each(
          under,
          ({ name }) => used(name, ['KeyWrap']) && used(name, ['KeyUnwrap', 'KeyRewrap']),
          ({ name }) => shortName(name),
          'a wrap and an unwrap are on record for each of ',
        ),
        all(
          files.disks,
          ({ isReadableByOwner, cipher }) => isReadableByOwner && cipher.startsWith('AES-256'),
          (seen) => `${seen.length} files decrypt with ${seen[0]?.cipher ?? 'nothing'} under the unwrapped data key`,
        ),
        finding(
          operations > 0,
          `${operations} reads and writes by the guests while they came up; ${uses} uses of keys in the whole rehearsal`,
        ),
      ];
    },
  ),

  rule('CMK-09', 'Users see no difference: reads and writes just work', ['machines'], ({ machines }) => {
    const under = machines.filter(({ disks }) => disks.some(({ set }) => set !== ''));
    const plain = machines.filter(({ disks }) => disks.every(({ set }) => set === ''));
    return [under, plain].map((some) =>
      each(
        some,
        ({ io, disks, power }) =>
          power === 'RUNNING' && io.failed === 0 && io.reads > 0 && io.writes > 0 && io.disks.length === disks.length,
        ({ name, io }) =>
          `${name} ${io.reads} reads, ${io.writes} writes, ${io.failed} failed${io.failure && ` (${io.failure})`}`,
      ),
    );
  }),

  rule(
    'CMK-10',
    'The customer stays in control: they can disable the key, delete it or withdraw access at any time',
    ['keyLost', 'everyWay', 'deleted'],
    ({ keyLost, everyWay, deleted }) => [
      ...judged(keyLost, 'vm-hdd.stopped', 'vm-ssd.stopped', 'vm-premium.stopped'),
      ...judged(everyWay, 'remove-policy.stopped'),
      stoppedByDeletion(deleted),
    ],
  ),

  rule('CMK-11', 'Key use can be audited in the vault’s own record', ['audit', 'sets'], ({ audit, sets }) => {
    const uses = audit.filter(({ operation }) => isUse(operation));
    return [
      all(
        uses,
        ({ caller, keyVersion, operation }) =>
          caller.startsWith('principals/') && keyVersion !== '' && operation !== '',
        (seen) =>
          `${seen.length} rows say who used which key version: ${listed([...new Set(seen.map(({ operation }) => operation))])}`,
      ),
      each(
        sets,
        ({ principal }) => uses.some(({ caller }) => caller === principal),
        ({ name }) => shortName(name),
        'among the callers are the identities of ',
      ),
    ];
  }),
];

/** Operations of the record that use key material. */
const isUse = (operation: string): boolean =>
  ['KeyWrap', 'KeyUnwrap', 'KeyRewrap', 'KeyEncrypt', 'KeyDecrypt', 'KeySign', 'KeyVerify'].includes(operation);
