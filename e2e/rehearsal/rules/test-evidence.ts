import type { RuleVerdict, Verdict } from '@interlock/lab';
import type { IoSummary } from '@interlock/lab/judge/journal/journal';
import type { Attempt } from '../attempt.ts';
import type { AuditSeen, Evidence, QuietSeen } from '../evidence/evidence.ts';
import { type ExperimentName, experimentNamed } from '../experiments.ts';
import { disksOf, machines, movedDisk, type PlannedDisk, type PlannedMachine, spareDisk } from '../world.ts';

/** The same with everything writable, so that a test can break it. */
export type Breakable<Thing> = Thing extends readonly (infer Item)[]
  ? Breakable<Item>[]
  : Thing extends object
    ? { -readonly [Key in keyof Thing]: Breakable<Thing[Key]> }
    : Thing;

const group = 'subscriptions/local/resourceGroups/machines';
const versionOf = (key: string, digit: string) => `vaults/rehearsal/keys/${key}/versions/${digit.repeat(32)}`;
const urlOf = (key: string, digit: string) => `https://rehearsal.vault.test/keys/${key}/${digit.repeat(32)}`;
/** Key versions: the first and second of the key `house`, and the imported one. */
export const [first, second, brought] = [versionOf('house', '1'), versionOf('house', '2'), versionOf('brought', 'b')];
const nameOf = ({ id }: Pick<PlannedDisk, 'id'>) => `${group}/disks/${id}`;
const setOf = ({ id, set }: PlannedDisk) => {
  const now = id === movedDisk.id ? 'house' : set;
  return now === 'platform' ? '' : `${group}/diskEncryptionSets/${now}`;
};
const people = {
  administrator: 'principals/a',
  vaultAdministrator: 'principals/v',
  vmUser: 'principals/u',
};
const identities = { house: 'principals/house', lodge: 'principals/lodge' };

const done = (what: string): Attempt => ({ what, outcome: 'done', code: 'OK', reason: '', message: '', tookMs: 1 });
const refused = (what: string, code: string, reason: string): Attempt => ({
  what,
  outcome: 'refused',
  code,
  reason,
  message: 'no',
  tookMs: 1,
});
const work = ({ id, os, data }: PlannedMachine): IoSummary => ({
  machine: id,
  reads: 10,
  writes: 10,
  bytes: 81_920,
  failed: 0,
  failure: '',
  longestGapMs: 40,
  disks: [os, ...data].map(nameOf),
});
const quiet = (): QuietSeen => ({
  machines: machines.map((machine) => ({
    name: machine.id,
    power: 'RUNNING',
    startTimeBefore: 1_000,
    startTimeAfter: 1_000,
    io: work(machine),
  })),
});
const all = [...new Map([...machines.flatMap(disksOf), spareDisk].map((disk) => [disk.id, disk])).values()];
const underHouse = all.filter((disk) => setOf(disk).endsWith('/house'));
const underAny = all.filter((disk) => setOf(disk) !== '');
const stopping = machines.filter(({ onLoss }) => onLoss === 'stops');

/** The verdict of the judge on a file of which every rule held. @param guarantees as the oracle names them */
const heldBy = (name: ExperimentName, guarantees: readonly string[]): Verdict => {
  const { expect, proof } = experimentNamed(name).experiment;
  const rule = (kind: RuleVerdict['kind'], text: string): RuleVerdict => ({ kind, text, result: 'held', seen: 'so' });
  return {
    outcome: 'held',
    because: 'All rules held.',
    problems: [],
    rules: [
      ...proof.map(({ of, see }) => rule('proof', `${of}: ${see} within 6s`)),
      ...expect.map(({ text }) => rule('expectation', text)),
      ...guarantees.map((text) => rule('guarantee', text)),
    ],
    groups: [],
    bytesCompared: 1_000_000,
    bytesLost: 0,
  };
};

const auditRow = (operation: string, caller: string, resource: string): Breakable<AuditSeen> => ({
  ...{ name: '', operation, keyVersion: brought, requestUri: urlOf('brought', 'b'), caller, tenant: 'tenants/t' },
  ...{ httpStatusCode: 200, result: 'SUCCESS', reason: '', resource, correlationId: 'correlation' },
  ...{ traceId: 'd'.repeat(32), durationUs: 900, callerAddress: '127.0.0.1:1' },
  ...{ occurrenceCount: 1, onBehalfOf: '', change: '', lastTraceId: '' },
});

/** The principals, the vault, its keys, and the sets over them. */
const keysSeen = (): Pick<Breakable<Evidence>, 'people' | 'vault' | 'keys' | 'sets' | 'grants'> => ({
  people: {
    ...people,
    vmUserAtVault: [refused('listing keys', 'PERMISSION_DENIED', 'ACCESS_DENIED')],
  },
  vault: { name: 'vaults/rehearsal', state: 'ACTIVE', purgeProtectionEnabled: true, softDeleteRetentionDays: 90 },
  keys: {
    generated: { name: first, keyUrl: urlOf('house', '1'), origin: 'GENERATED', keySizeBits: 2048 },
    imported: { name: brought, keyUrl: urlOf('brought', 'b'), origin: 'IMPORTED', keySizeBits: 3072 },
    isOwnMaterial: true,
    refused: ['P-256', '1,024 bits'].map((what) => refused(what, 'INVALID_ARGUMENT', 'NO_SUCH_KEYS')),
  },
  sets: (['house', 'lodge'] as const).map((id) => {
    const url = id === 'house' ? urlOf('house', '1') : urlOf('brought', 'b');
    const name = `${group}/diskEncryptionSets/${id}`;
    return {
      name,
      provisioningState: 'SUCCEEDED',
      wantedKeyUrl: url,
      keyUrl: url,
      sourceVault: 'vaults/rehearsal',
      principal: identities[id],
      identity: { type: 'MANAGED_IDENTITY', owner: name, state: 'ACTIVE' },
      isGrantedAtCreation: false,
    };
  }),
  grants: {
    firstDisk: refused('first disk', 'PERMISSION_DENIED', 'ACCESS_DENIED'),
    afterwards: refused('reading it', 'NOT_FOUND', 'DISK_NOT_FOUND'),
    incomplete: (['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const).map((missing) => ({
      granted: (['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const).filter((permission) => permission !== missing),
      disk: refused('disk', 'PERMISSION_DENIED', 'ACCESS_DENIED'),
    })),
    complete: done('disk'),
  },
});

/** Disks and machines before any loss. */
const estateSeen = (): Pick<Breakable<Evidence>, 'disks' | 'move' | 'machines' | 'setInUse'> => ({
  disks: all.map((disk) => ({
    name: nameOf(disk),
    id: disk.id,
    sku: disk.sku,
    set: setOf(disk),
    keyVersion: setOf(disk) === '' ? '' : first,
  })),
  move: {
    disk: nameOf(movedDisk),
    before: { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', set: '', keyVersion: '' },
    after: {
      type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
      set: `${group}/diskEncryptionSets/house`,
      keyVersion: first,
    },
    isContentSame: true,
  },
  machines: machines.map((machine) => ({
    name: machine.id,
    onLoss: machine.onLoss,
    power: 'RUNNING',
    startTime: 1_000,
    disks: disksOf(machine).map((disk) => ({
      name: nameOf(disk),
      sku: disk.sku,
      set: setOf(disk),
      isOs: disk === machine.os,
    })),
    io: work(machine),
  })) as Breakable<Evidence['machines']>,
  setInUse: {
    deletion: refused('deleting', 'FAILED_PRECONDITION', 'DISK_ENCRYPTION_SET_IN_USE'),
    stateAfterwards: 'SUCCEEDED',
    users: underHouse.map(nameOf),
  },
});

/** A rotation, and the end of the version before it. */
const rotationSeen = (): Pick<Breakable<Evidence>, 'rotation' | 'oldVersionDisabled'> => ({
  rotation: {
    from: first,
    to: second,
    startedAt: 2_000,
    endedAt: 2_100,
    previousKeysMeanwhile: [first],
    previousKeysAfter: [],
    wereBothEnabled: true,
    resources: underHouse.map((disk) => ({ name: nameOf(disk), keyVersion: second, generation: 2 })),
    generation: 2,
    rewraps: underHouse.map((disk) => ({
      disk: nameOf(disk),
      keyVersionBefore: first,
      keyVersionAfter: second,
      isWrapChanged: true,
      isDataUntouched: true,
    })),
    machines: quiet() as Breakable<QuietSeen>,
  },
  oldVersionDisabled: quiet() as Breakable<QuietSeen>,
});

/** Every loss of access, and its end. */
const lossesSeen = (): Pick<
  Breakable<Evidence>,
  | 'keyLost'
  | 'everyWay'
  | 'ultraStarts'
  | 'impact'
  | 'deleted'
  | 'refusedWhileDeleted'
  | 'ultraWhileDeleted'
  | 'assigned'
> => ({
  keyLost: heldBy('the-key-is-lost', [
    'CMK-100 virtualMachines/vm-hdd',
    'CMK-102 virtualMachines/vm-ultra',
    'CMK-103 virtualMachines/vm-mixed',
    'CMK-106 virtualMachines/vm-hdd',
    'CMK-111 virtualMachines/vm-platform',
  ]) as Breakable<Verdict>,
  everyWay: heldBy('every-way', []) as Breakable<Verdict>,
  ultraStarts: [
    { outcome: 'failed', reason: 'KEY_DISABLED' },
    { outcome: 'running', reason: '' },
  ],
  impact: { stops: stopping.map(({ id }) => id), failsAtNextStart: ['vm-ultra'] },
  deleted: machines.map(({ id, onLoss }) =>
    onLoss === 'stops'
      ? { name: id, onLoss, power: 'STOPPED', reason: 'KEY_DELETED' }
      : { name: id, onLoss, power: 'RUNNING', reason: '' },
  ),
  refusedWhileDeleted: {
    attempts: ['disk', 'snapshot', 'attach', 'export'].map((what) =>
      refused(what, 'FAILED_PRECONDITION', 'KEY_DELETED'),
    ),
    leftovers: [refused('reading it', 'NOT_FOUND', 'DISK_NOT_FOUND')],
    hostPower: 'RUNNING',
    hostDataDisks: 0,
    spareState: 'UNATTACHED',
  },
  ultraWhileDeleted: {
    machine: 'vm-ultra',
    start: { machine: 'vm-ultra', outcome: 'failed', power: 'DEALLOCATED', code: 'KEY_DELETED', message: 'no' },
    namesDisk: true,
  },
  assigned: {
    starts: [...stopping.map(({ id }) => id), 'vm-ultra'].map((machine) => ({
      ...{ machine, outcome: 'running', power: 'RUNNING', code: '', message: '' },
    })),
    io: machines.map(work),
    verified: 12,
    mismatched: 0,
  } as Breakable<Evidence['assigned']>,
});

/** The bytes of every disk, compared and searched. */
const contentSeen = (): Pick<Breakable<Evidence>, 'content' | 'files'> => ({
  content: {
    disks: all.length,
    bytesCompared: 1_000_000,
    mismatches: 0,
    records: 200,
    marksRead: all.length,
    perDisk: underAny.map((disk) => ({
      disk: nameOf(disk),
      bytes: 4_096,
      acknowledged: 'a'.repeat(64),
      found: 'a'.repeat(64),
    })),
    throughApi: all.filter((disk) => setOf(disk) === '').map(nameOf),
  },
  files: {
    disks: underAny.map((disk) => ({
      disk: nameOf(disk),
      cipher: 'AES-256-XTS-4096',
      keyVersion: brought,
      algorithm: 'RSA-OAEP-256',
      wrappedBytes: 384,
      allocatedBytes: 69_632,
      isReadableByOwner: true,
      isReadableByOther: false,
      isSameDek: true,
      plaintextPlaces: 0,
      searchedPlaces: 20,
    })),
    distinctDeks: underAny.length,
    dekSearch: { places: 100, bytes: 100_000_000, leaks: [] },
  },
});

/** Rows of the vault's audit log. */
const auditSeen = (): Pick<Breakable<Evidence>, 'audit'> => ({
  audit: [
    {
      ...auditRow('VaultPut', people.vaultAdministrator, ''),
      keyVersion: '',
      requestUri: 'https://rehearsal.vault.test',
    },
    {
      ...auditRow('KeyUnwrap', people.vmUser, ''),
      httpStatusCode: 403,
      result: 'REFUSED',
      reason: 'ACCESS_DENIED',
    },
    {
      ...auditRow('KeyCheckAccess', identities.house, ''),
      httpStatusCode: 403,
      result: 'REFUSED',
      reason: 'ACCESS_DENIED',
    },
    ...underAny.flatMap((disk) => {
      const caller = setOf(disk).endsWith('/house') ? identities.house : identities.lodge;
      return ['KeyWrap', 'KeyUnwrap', 'KeyRewrap'].map((operation) => auditRow(operation, caller, nameOf(disk)));
    }),
  ],
});

/** Evidence of a rehearsal in which every rule holds; a new copy each time. */
export const goodEvidence = (): Breakable<Evidence> => ({
  ...keysSeen(),
  ...estateSeen(),
  ...rotationSeen(),
  ...lossesSeen(),
  ...contentSeen(),
  ...auditSeen(),
});
