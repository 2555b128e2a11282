import type { MachineRow, Reading } from './reading.ts';

/** When the first reading was made. */
export const startMs = Date.UTC(2026, 0, 1, 12);
export const group = 'subscriptions/local/resourceGroups/g';
const version = `vaults/kv1/keys/k1/versions/${'0'.repeat(32)}`;

/** Names as users type them. */
export const short = (name: string): string =>
  name.startsWith('vaults/')
    ? name
        .split('/')
        .filter((_, n) => n % 2 === 1)
        .join('/')
    : name.slice(name.lastIndexOf('/') + 1);

/** A machine that runs. */
export const machineRow = (name: string, more: Partial<MachineRow> = {}): MachineRow => ({
  name: `${group}/virtualMachines/${name}`,
  power: 'RUNNING',
  vmHost: '',
  reason: '',
  since: '2026-01-01T11:00:00.000Z',
  operations: 100,
  failures: 0,
  mismatches: 0,
  ...more,
});

const set = {
  name: `${group}/diskEncryptionSets/des1`,
  key: version,
  access: 'AVAILABLE',
  reason: '',
  since: '2026-01-01T10:00:00.000Z',
};
const lease = { set: set.name, key: version, state: 'HELD', reason: '', expiresInMs: 53_000, openCount: 2 };

/** Everything works. @param seconds after the first reading */
export const working = (seconds: number, more: Partial<Reading> = {}): Reading => ({
  atMs: startMs + seconds * 1_000,
  problems: { identity: '', 'key-vault': '', 'disk-encryption-set': '', disk: '', compute: '' },
  sets: [set],
  leases: [lease],
  machines: [machineRow('vm1'), machineRow('vm2')],
  isCut: false,
  ...more,
});

/** The key was disabled: one machine is off, the set and its lease have lost access. */
export const lost = (seconds: number): Reading =>
  working(seconds, {
    sets: [{ ...set, access: 'LOST', reason: 'KEY_DISABLED', since: '2026-01-01T12:00:00.400Z' }],
    leases: [{ ...lease, state: 'LOST', reason: 'KEY_DISABLED', expiresInMs: 0, openCount: 0 }],
    machines: [
      machineRow('vm1', { power: 'STOPPED', reason: 'KEY_DISABLED', since: '2026-01-01T12:00:00.900Z' }),
      machineRow('vm2'),
    ],
  });

/** No service responds. */
export const unreachable = (seconds: number): Reading => ({
  atMs: startMs + seconds * 1_000,
  problems: {
    identity: 'not responding',
    'key-vault': 'not responding',
    'disk-encryption-set': 'not responding',
    disk: 'not responding',
    compute: 'not responding',
  },
  sets: undefined,
  leases: undefined,
  machines: undefined,
  isCut: false,
});
