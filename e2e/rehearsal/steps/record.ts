import type { AuditEntry } from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import { shortName } from '@interlock/lab/short-name';
import { all, each, finding, listed } from '../findings.ts';
import { type KeySet, type MadeDisk, type People, type Person, type Seeing, vaultName, type World } from '../world.ts';

/** Whose uses of keys must be on record, and of which disks. */
export interface Recorded {
  readonly sets: readonly KeySet[];
  readonly disks: readonly MadeDisk[];
  /** Full names of the disks that the rotation moved. */
  readonly rewrapped: readonly string[];
}

/** Reads the whole audit log of the vault. */
export const readRecord = (world: World, people: People, recorded: Recorded): Promise<void> =>
  world.timeline.step(
    { who: 'Vault administrator', title: 'Reads the record of the vault', rules: ['CMK-07', 'CMK-11', 'CMK-144'] },
    async () => {
      const entries: AuditEntry[] = [];
      let pageToken = '';
      do {
        const page = await people.vaultAdministrator.keyVault.listAuditEntries({
          parent: vaultName,
          pageSize: 1_000,
          pageToken,
        });
        entries.push(...page.auditEntries);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      seeUses(world, people, entries, recorded);
      seeRows(world, entries, recorded);
    },
  );

/** Operations of the record that use key material. */
const isUse = ({ operation }: AuditEntry): boolean =>
  ['KeyWrap', 'KeyUnwrap', 'KeyRewrap', 'KeyEncrypt', 'KeyDecrypt', 'KeySign', 'KeyVerify'].includes(operation);

const hasSucceeded = ({ result }: AuditEntry): boolean => result === 'SUCCESS';

/** Who used the keys, and for which disks. */
export const seeUses = (
  { see }: Seeing,
  { vaultAdministrator, vmUser }: Readonly<Record<'vaultAdministrator' | 'vmUser', Pick<Person, 'principal'>>>,
  entries: readonly AuditEntry[],
  { sets, disks, rewrapped }: Recorded,
): void => {
  const creator = entries.find((row) => row.operation === 'VaultPut' && hasSucceeded(row))?.caller;
  see(
    'CMK-01',
    'record',
    finding(creator === vaultAdministrator.principal, `the vault’s record has its creation by ${creator}`),
  );
  const uses = entries.filter(isUse);
  const identities = sets.map(({ principal }) => principal);
  const ofUser = entries.filter(({ caller, result }) => caller === vmUser.principal && result === 'REFUSED');
  see(
    'CMK-07',
    'record',
    all(
      uses.filter(hasSucceeded),
      ({ caller }) => identities.includes(caller),
      (some) =>
        `${some.length} uses of keys are on record, by ${listed([...new Set(some.map(({ caller }) => caller))])}`,
    ),
    finding(ofUser.length > 0, `${ofUser.length} tries of the VM user are on record as refused`),
  );
  const done = (disk: string, ...operations: readonly string[]): boolean =>
    uses.some((row) => hasSucceeded(row) && row.resource === disk && operations.includes(row.operation));
  see(
    'CMK-08',
    'record',
    each(
      disks.filter(({ set }) => set !== '').map(({ name }) => name),
      (disk) => done(disk, 'KeyWrap') && done(disk, 'KeyUnwrap', 'KeyRewrap'),
      shortName,
      'a wrap and an unwrap are on record for each of ',
    ),
    finding(uses.length > 0, `${uses.length} uses of keys in the whole rehearsal`),
  );
  see(
    'CMK-83',
    'record',
    all(
      rewrapped,
      (disk) => done(disk, 'KeyRewrap'),
      (some) => `a rewrap is on record for each of ${some.length} disks`,
    ),
  );
};

/** What the rows say. */
export const seeRows = ({ see }: Seeing, entries: readonly AuditEntry[], { sets }: Recorded): void => {
  const uses = entries.filter(isUse);
  see(
    'CMK-11',
    'record',
    all(
      uses,
      ({ caller, keyVersion }) => caller.startsWith('principals/') && keyVersion !== '',
      (some) =>
        `${some.length} rows say who used which key version: ${listed([...new Set(some.map(({ operation }) => operation))])}`,
    ),
    each(
      sets,
      ({ principal }) => uses.some(({ caller }) => caller === principal),
      ({ name }) => shortName(name),
      'among the callers are the identities of ',
    ),
  );
  const rows = entries.filter(
    ({ operation, caller }) =>
      sets.some(({ principal }) => principal === caller) &&
      ['KeyWrap', 'KeyUnwrap', 'KeyCheckAccess'].includes(operation),
  );
  const count = (operation: string) => rows.filter((row) => row.operation === operation).length;
  const denied = rows.filter(({ httpStatusCode, result }) => httpStatusCode === 403 && result === 'REFUSED');
  see(
    'CMK-144',
    'record',
    ...['KeyWrap', 'KeyUnwrap'].map((operation) =>
      finding(count(operation) > 0, `${count(operation)} rows of ${operation}`),
    ),
    all(
      rows,
      (row) =>
        /^https:\/\/.+\/keys\/[^/]+\/[0-9a-f]{32}$/.test(row.requestUri) &&
        row.httpStatusCode >= 200 &&
        row.correlationId !== '' &&
        row.durationUs >= 0 &&
        row.callerAddress !== '',
      (some) =>
        `${some.length} rows have caller, versioned URL, status, correlation id, address and duration, like ${some[0]?.operation} ${some[0]?.requestUri} ${some[0]?.httpStatusCode} by ${some[0]?.caller} from ${some[0]?.callerAddress}`,
    ),
    finding(denied.length > 0, `${denied.length} denied uses are on record with 403`),
  );
};
