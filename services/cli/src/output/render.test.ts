import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import stringWidth from 'string-width';
import { methodOf, Service } from '../request/schema.ts';
import { render } from './render.ts';

const names = { subscription: 'subscriptions/local', group: 'g' };
const group = 'subscriptions/local/resourceGroups/g';
const answerOf = (contract: Parameters<typeof methodOf>[0], name: string) => methodOf(contract, name).response;

test('a list is a table with state, reason and since; empty columns are left out', () => {
  const disks = answerOf(Service.disk, 'ListDisks');
  const json = {
    disks: [
      {
        name: `${group}/disks/d1`,
        state: 'ATTACHED',
        availability: 'AVAILABLE',
        unavailableReason: 'KEY_ACCESS_REASON_UNSPECIFIED',
      },
      {
        name: `${group}/disks/disk2`,
        state: 'UNATTACHED',
        availability: 'UNAVAILABLE',
        unavailableReason: 'KEY_DISABLED',
        unavailableSince: '2026-01-01T00:00:00Z',
      },
    ],
    nextPageToken: '',
  };
  assert.equal(
    render(disks, json, names),
    [
      'NAME   STATE       AVAILABILITY  REASON        SINCE',
      'd1     ATTACHED    AVAILABLE',
      'disk2  UNATTACHED  UNAVAILABLE   KEY_DISABLED  2026-01-01T00:00:00Z',
    ].join('\n'),
  );
  assert.equal(render(disks, { disks: [], nextPageToken: '' }, names), 'none');
});

test('a list of 150,000 disks is shown as a table', () => {
  const disks = Array.from({ length: 150_000 }, () => ({ state: 'ATTACHED' }));
  const shown = render(answerOf(Service.disk, 'ListDisks'), { disks, nextPageToken: '' }, names);
  assert.equal(shown.split('\n').length, 150_001);
});

test('a list of deleted keys shows the time once, unless a key was unusable before its deletion', () => {
  const deleted = {
    name: 'vaults/kv1/keys/k1',
    state: 'DELETED',
    unavailableReason: 'KEY_DELETED',
    unavailableSince: '2026-01-02T00:00:00Z',
    deleteTime: '2026-01-02T00:00:00Z',
  };
  const list = (...keys: JsonObject[]) => render(answerOf(Service.keyVault, 'ListDeletedKeys'), { keys }, names);
  assert.equal(
    list(deleted),
    [
      'NAME    STATE    REASON       DELETE TIME', //
      'kv1/k1  DELETED  KEY_DELETED  2026-01-02T00:00:00Z',
    ].join('\n'),
  );
  const before = { unavailableReason: 'KEY_DISABLED', unavailableSince: '2026-01-01T00:00:00Z' };
  assert.match(list(deleted, { ...deleted, ...before }), /KEY_DISABLED +2026-01-01T00:00:00Z +2026-01-02T00:00:00Z$/);
});

test('showing and listing a key shows why it cannot be used', () => {
  const key = {
    name: 'vaults/kv1/keys/k1',
    state: 'ACTIVE',
    unavailableReason: 'KEY_DISABLED',
    unavailableSince: '2026-01-01T00:00:00Z',
  };
  const listed = render(answerOf(Service.keyVault, 'ListKeys'), { keys: [key] }, names);
  assert.equal(
    listed,
    [
      'NAME    STATE   REASON        SINCE', //
      'kv1/k1  ACTIVE  KEY_DISABLED  2026-01-01T00:00:00Z',
    ].join('\n'),
  );
  assert.match(render(answerOf(Service.keyVault, 'GetKey'), key, names), /unavailable reason +KEY_DISABLED/);
});

test('a resource is shown as names and values, the state first, without empty fields', () => {
  const vm = answerOf(Service.compute, 'GetVirtualMachine');
  const text = render(
    vm,
    {
      name: `${group}/virtualMachines/vm1`,
      location: 'westeurope',
      powerState: 'STOPPED',
      provisioningState: 'SUCCEEDED',
      stopReason: { reason: 'KEY_DISABLED', keyVersion: 'vaults/kv1/keys/k1/versions/0' },
      etag: '',
      dataDisks: [],
    },
    names,
  );
  assert.deepEqual(
    text.split('\n').map((line) => line.replace(/ {2,}/g, '  ')),
    [
      `name  ${group}/virtualMachines/vm1`,
      'provisioning state  SUCCEEDED',
      'power state  STOPPED',
      'stop reason',
      '  reason  KEY_DISABLED',
      '  key version  vaults/kv1/keys/k1/versions/0',
      'location  westeurope',
    ],
  );
});

test('an access loss without an epoch of a vault is shown without one', () => {
  const set = answerOf(Service.diskEncryptionSet, 'GetDiskEncryptionSet');
  const vm = answerOf(Service.compute, 'GetVirtualMachine');
  const shownWith = (accessEpoch: string): string => {
    const loss = { reason: 'IDENTITY_DELETED', keyVersion: 'vaults/kv1/keys/k1/versions/0', accessEpoch };
    return [
      render(set, { name: `${group}/diskEncryptionSets/des1`, keyAccess: [{ ...loss, state: 'LOST' }] }, names),
      render(vm, { name: `${group}/virtualMachines/vm1`, stopReason: loss }, names),
    ].join('\n');
  };
  assert.equal(shownWith('17').match(/access epoch/gi)?.length, 2);
  assert.equal(shownWith('17').match(/\b17\b/g)?.length, 2);
  assert.doesNotMatch(shownWith('9007199254740991'), /access epoch|9007199254740991/i);
});

test('bytes are shown as they can be typed, and an empty answer is done', () => {
  assert.match(render(answerOf(Service.keyVault, 'Encrypt'), { ciphertext: 'aGk=' }, names), /base64:aGk=/);
  assert.equal(render(answerOf(Service.keyVault, 'PurgeVault'), {}, names), 'done');
});

test('the statuses of disks in an instance view are shown', () => {
  const view = answerOf(Service.compute, 'GetInstanceView');
  const disks = [{ name: `${group}/disks/d1`, statuses: [{ code: 'ProvisioningState/failed/KeyVaultKeyNotEnabled' }] }];
  assert.match(render(view, { statuses: [], disks }, names), /d1\n.*CODE\n.*KeyVaultKeyNotEnabled/);
});

test('an audit log fits 150 columns, with whole traces; -o wide shows all of it', () => {
  const list = answerOf(Service.keyVault, 'ListAuditEntries');
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const uuid = '3f2a1b4c-0000-4000-8000-0000000000aa';
  const entry = {
    name: 'vaults/kv1/auditEntries/1',
    time: '2026-11-27T06:19:36.123Z',
    operation: 'KeyUnwrap',
    keyVersion: `vaults/kv1/keys/k1/versions/${'9'.repeat(32)}`,
    caller: `principals/${uuid}`,
    result: 'SUCCESS',
    resource: `${group}/disks/d1`,
    occurrenceCount: 1,
    onBehalfOf: `principals/${uuid.replace('3f', 'bb')}`,
    traceId: trace,
  };
  const json = {
    auditEntries: [
      entry,
      { ...entry, result: 'REFUSED', reason: 'KEY_VERSION_NOT_FOUND', occurrenceCount: 12 },
      { ...entry, operation: 'KeyUpdate', change: 'disable: was so already' },
    ],
  };
  const [head = '', done = '', refused = '', changed = ''] = render(list, json, names, 150).split('\n');
  assert.match(head, /^TIME +OPERATION +RESULT +KEY +CALLER +FOR +RESOURCE +TRACE ID$/);
  for (const line of [head, done, refused, changed]) assert.ok(line.length <= 150, `${line.length} columns: ${line}`);
  assert.equal(
    done.replace(/ +/g, ' '),
    `2026-11-27T06:19:36Z KeyUnwrap SUCCESS k1/99999999… 3f2a1b4c… bb2a1b4c… d1 ${trace}`,
  );
  assert.match(refused, / KeyUnwrap ×12 +KEY_VERSION_N.*… /);
  assert.match(changed, /KeyUpdate disable/);
  const wide = render(list, json, names, Number.POSITIVE_INFINITY);
  for (const whole of [entry.time, '9'.repeat(32), uuid, 'KEY_VERSION_NOT_FOUND', 'disable: was so already', trace])
    assert.ok(wide.includes(whole), whole);
});

test('an audit log with long names is shortened so that keys, versions and resources stay distinct', () => {
  const list = answerOf(Service.keyVault, 'ListAuditEntries');
  const entry = (version: string, disk: string, reason = '') => ({
    time: '2026-11-27T06:19:36.123Z',
    operation: 'KeyCheckAccess',
    keyVersion: `vaults/contoso-prod-kv01/keys/orders-database-key/versions/${version.repeat(32)}`,
    caller: 'principals/3f2a1b4c-0000-4000-8000-0000000000aa',
    onBehalfOf: 'principals/bb2a1b4c-0000-4000-8000-0000000000aa',
    result: reason === '' ? 'SUCCESS' : 'REFUSED',
    reason,
    resource: `${group}/disks/orders-database-${disk}`,
    occurrenceCount: 12,
    traceId: '0af7651916cd43dd8448eb211c80319c',
  });
  const entries = [entry('1', '01-os'), entry('2', '01-os', 'KEY_OPERATION_NOT_ALLOWED'), entry('2', '02-os')];
  const lines = render(list, { auditEntries: entries }, names, 150).split('\n');
  for (const line of lines) assert.ok(line.length <= 150, `${line.length} columns: ${line}`);
  const [first = [], second = [], third = []] = lines.slice(1).map((line) => line.split(/ {2,}/));
  assert.match(first[3] ?? '', /^o.*…-?k?ey\/11111111…$/);
  assert.match(second[3] ?? '', /\/22222222…$/);
  assert.match(second[2] ?? '', /^KEY_OPERATI.*…$/);
  assert.match(first[6] ?? '', /^ord.*….*1-os$/);
  assert.notEqual(first[6], third[6]);
  // With room for it nothing is cut.
  const short = { ...entry('1', '01-os'), keyVersion: 'vaults/kv1/keys/k1/versions/1', onBehalfOf: '', resource: '' };
  assert.match(
    render(list, { auditEntries: [{ ...short, reason: 'KEY_OPERATION_NOT_ALLOWED' }] }, names, 150),
    /NOT_ALLOWED/,
  );
});

test('KV-73: a role is shown with what it allows and what it excludes, as short as possible', () => {
  const list = answerOf(Service.identity, 'ListRoles');
  const roles = [
    { name: 'roles/owner', title: 'Owner', actions: ['*'] },
    {
      name: 'roles/contributor',
      actions: ['*'],
      notActions: ['identity/a/write', 'identity/a/delete', 'identity/b/*'],
    },
    { name: 'roles/user', actions: ['keyVault/vaults/read'], dataActions: ['keyVault/keys/get', 'keyVault/keys/sign'] },
  ];
  assert.equal(
    render(list, { roles }, names),
    [
      'NAME         ALLOWS',
      'owner        *',
      'contributor  * but not identity/a/{write,delete}, identity/b/*',
      'user         keyVault/vaults/read, keyVault/keys/{get,sign}',
    ].join('\n'),
  );
  assert.match(
    render(list, { roles }, names, Number.POSITIVE_INFINITY),
    /TITLE .*ACTIONS .*NOT ACTIONS .*DATA ACTIONS/,
  );
});

test('a list leaves out its last columns to fit 80 columns, marks that in the title, and shows more if wider', () => {
  const list = answerOf(Service.disk, 'ListDisks');
  const disk = (name: string) => ({
    name: `${group}/disks/${name}`,
    state: 'ATTACHED',
    availability: 'UNAVAILABLE',
    unavailableReason: 'KEY_DISABLED',
    unavailableSince: '2026-11-27T06:19:36.123Z',
    sku: 'PREMIUM_SSD',
    sizeGib: '4096',
    managedBy: `${group}/virtualMachines/orders-database-01`,
    encryption: { diskEncryptionSet: `${group}/diskEncryptionSets/orders-set` },
  });
  const json = { disks: [disk('orders-01-os'), disk('orders-01-data')] };
  const [head = '', ...rows] = render(list, json, names).split('\n');
  assert.match(head, /^NAME +STATE +AVAILABILITY +REASON +…$/);
  for (const line of [head, ...rows]) assert.ok(line.length <= 80, `${line.length} columns: ${line}`);
  assert.match(rows[1] ?? '', /^orders-01-data +ATTACHED +UNAVAILABLE +KEY_DISABLED$/, 'what is shown is whole');
  assert.match(render(list, json, names, 100).split('\n')[0] ?? '', /SINCE +SKU +…$/);
  for (const width of [200, Number.POSITIVE_INFINITY])
    assert.match(render(list, json, names, width).split('\n')[0] ?? '', /SIZE GIB +MANAGED BY +SET$/);
});

test('roles and audit logs fit 80 columns, and their rows stay distinct', () => {
  const roles = [
    { name: 'roles/keyVaultAdministrator', actions: Array.from({ length: 9 }, (_, n) => `keyVault/part${n}/*`) },
  ];
  const entry = {
    time: '2026-11-27T06:19:36.123Z',
    operation: 'KeyCheckAccess',
    keyVersion: `vaults/kv1/keys/orders-database-key/versions/${'9'.repeat(32)}`,
    caller: 'principals/3f2a1b4c-0000-4000-8000-0000000000aa',
    result: 'SUCCESS',
    occurrenceCount: 12,
    traceId: '0af7651916cd43dd8448eb211c80319c',
  };
  const text = [
    render(answerOf(Service.identity, 'ListRoles'), { roles }, names),
    render(answerOf(Service.keyVault, 'ListAuditEntries'), { auditEntries: [entry] }, names),
  ].join('\n');
  for (const line of text.split('\n')) assert.ok(line.length <= 80, `${line.length} columns: ${line}`);
  assert.match(text, /^keyVaultAdministrator +keyVault\/part0\/\*.*…$/m);
  assert.match(text, /^2026-11-27T06:19:36Z +KeyCheckAccess ×12 +SUCCESS +o.*\/99999999… +3f2a1b4c…/m);
});

/** Effects as the service lists them: the set, then machines, then disks. */
const impactsOf = (machine: (n: number) => string, disk: (n: number, part: string) => string) => {
  const set = { diskEncryptionSet: `${group}/diskEncryptionSets/des-prod` };
  const vms = [1, 2].map((n) => ({
    ...set,
    kind: n === 1 ? 'VIRTUAL_MACHINE_FAILS_AT_NEXT_START' : 'VIRTUAL_MACHINE_STOPS',
    resource: machine(n),
    disks: [disk(n, 'os'), disk(n, 'data')],
    powerState: 'RUNNING',
  }));
  const disks = [1, 2].flatMap((n) =>
    ['os', 'data'].map((part) => ({
      ...set,
      kind: n === 1 ? 'DISK_UNAVAILABLE_ONCE_STOPPED' : 'DISK_UNAVAILABLE',
      resource: disk(n, part),
      virtualMachine: machine(n),
      sku: n === 1 ? 'ULTRA' : 'PREMIUM_SSD',
    })),
  );
  const loses = { ...set, kind: 'SET_LOSES_KEY', resource: set.diskEncryptionSet };
  return [loses, ...vms, ...disks, { ...set, kind: 'SNAPSHOT_UNAVAILABLE', resource: `${group}/snapshots/s1` }];
};

test('an impact lists machines first, each with its disks, then what no machine has, then sets', () => {
  const preview = answerOf(Service.diskEncryptionSet, 'PreviewImpact');
  const impacts = impactsOf(
    (n) => `${group}/virtualMachines/db-0${n}`,
    (n, part) => `${group}/disks/db-0${n}-${part}`,
  );
  assert.equal(
    render(preview, { impacts }, names),
    [
      'RESOURCE           EFFECT                    DETAIL',
      'vm db-02           STOPS                     RUNNING',
      '  disk db-02-os    UNAVAILABLE               PREMIUM_SSD',
      '  disk db-02-data  UNAVAILABLE               PREMIUM_SSD',
      'vm db-01           FAILS_AT_NEXT_START       RUNNING',
      '  disk db-01-os    UNAVAILABLE_ONCE_STOPPED  ULTRA',
      '  disk db-01-data  UNAVAILABLE_ONCE_STOPPED  ULTRA',
      'snapshot s1        UNAVAILABLE',
      'set des-prod       LOSES_KEY',
    ].join('\n'),
  );
  assert.match(render(preview, { impacts }, names, Number.POSITIVE_INFINITY), /^KIND +RESOURCE +SET +DISKS/);
});

test('an impact of several sets and keys names them; a machine with a disk in each has a row for each', () => {
  const preview = answerOf(Service.diskEncryptionSet, 'PreviewImpact');
  const of = (name: string, more: object) => ({ diskEncryptionSet: `${group}/diskEncryptionSets/${name}`, ...more });
  const key = (name: string) => [`vaults/kv1/keys/${name}/versions/${'9'.repeat(32)}`];
  const machine = { resource: `${group}/virtualMachines/vm1`, powerState: 'RUNNING' };
  const text = render(
    preview,
    {
      impacts: [
        of('a', {
          kind: 'SET_LOSES_KEY',
          resource: `${group}/diskEncryptionSets/a`,
          keyVersions: key('k1'),
          already: true,
        }),
        of('a', { kind: 'VIRTUAL_MACHINE_STOPS', ...machine, disks: [`${group}/disks/d1`], startsAgain: true }),
        of('b', { kind: 'VIRTUAL_MACHINE_FAILS_AT_NEXT_START', ...machine, disks: [] }),
        of('b', { kind: 'DISK_UNREADABLE', resource: `${group}/disks/d2`, keyVersions: key('k2') }),
      ],
    },
    names,
  );
  assert.deepEqual(
    text.split('\n').map((line) => line.replace(/ {2,}/g, '|')),
    [
      'RESOURCE|EFFECT|DETAIL|SET|KEY',
      'vm vm1|STOPS|RUNNING, starts again|a',
      'vm vm1|FAILS_AT_NEXT_START|RUNNING|b',
      '|disk d1|a',
      'disk d2|UNREADABLE|b|kv1/k2/99999999…',
      'set a|LOSES_KEY|already so|a|kv1/k1/99999999…',
    ],
  );
});

test('an impact with names of 80 characters, wide characters and emoji fits 60, 80 and 120 columns, and drops nothing', () => {
  const preview = answerOf(Service.diskEncryptionSet, 'PreviewImpact');
  const long = (start: string, end: string): string => start + 'x'.repeat(80 - start.length - end.length) + end;
  const kinds: Readonly<Record<string, (text: string) => string>> = {
    long: (text) => long(`${text}-`, `-${text}`),
    wide: (text) => `${'数据库'.repeat(9)}-${text}`,
    emoji: (text) => `${'👩‍👩‍👧‍👦🔑é'.repeat(9)}-${text}`,
  };
  for (const [kind, made] of Object.entries(kinds))
    for (const width of [60, 80, 120]) {
      const impacts = impactsOf(
        (n) => `${group}/virtualMachines/${made(`db-0${n}`)}`,
        (n, part) => `${group}/disks/${made(`0${n}-${part}`)}`,
      );
      const lines = render(preview, { impacts }, names, width).split('\n');
      const where = `${kind} ${width}:\n${lines.join('\n')}`;
      assert.equal(lines.length, impacts.length + 1, where);
      for (const line of lines) assert.ok(stringWidth(line) <= width, `${stringWidth(line)} columns in ${where}`);
      assert.match(lines[0] ?? '', /^RESOURCE +EFFECT +DETAIL$/, where);
      assert.equal(new Set(lines).size, lines.length, `rows stay distinct in ${where}`);
      assert.ok(
        lines.every((line) => !line.includes('\ufffd')),
        where,
      );
      // Columns stay aligned: EFFECT begins at the same place in every row.
      const starts = lines.map((line) => stringWidth(/^.*?(?=EFFECT|STOPS|FAILS|UNAVAIL|LOSES)/.exec(line)?.[0] ?? ''));
      assert.equal(new Set(starts).size, 1, where);
    }
});

test('a list shortens long names in the middle before it omits columns', () => {
  const list = answerOf(Service.disk, 'ListDisks');
  const name = `orders-database-${'x'.repeat(56)}-01-data`;
  const json = { disks: [{ name: `${group}/disks/${name}`, state: 'ATTACHED', availability: 'AVAILABLE' }] };
  const [head = '', row = ''] = render(list, json, names).split('\n');
  assert.match(head, /^NAME +STATE +AVAILABILITY$/);
  assert.match(row, /^orders-database-x+…x+-01-data +ATTACHED +AVAILABLE$/);
  assert.ok(row.length <= 80, row);
});
