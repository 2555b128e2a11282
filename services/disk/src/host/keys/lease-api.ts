import type { KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import {
  type Lease_Report,
  type Lease_State,
  type ListLeasesRequest,
  Lease as WireLease,
} from '@interlock/contracts/interlock/disk/v1/lease.ts';
import { names, pageToken } from '@interlock/rpc';
import { ageMs, type Clock, type Instant, leftMs, readingOf } from '@interlock/runtime';
import { pageOfRequest } from '../../listing.ts';
import type { KeyAccess } from './key-access.ts';
import { endOf, type LeaseTerms } from './lease.ts';
import type { LeaseReport, Leases } from './leases.ts';
import type { LossReports, ReportState } from './loss-reports.ts';

/** The state of every lease of this host: request in, leases out. */
export const leaseApi = (parts: {
  readonly leases: Pick<Leases, 'list'>;
  readonly keyAccess: Pick<KeyAccess, 'lossOf'>;
  readonly reports: Pick<LossReports, 'stateOf'>;
  readonly terms: Pick<LeaseTerms, 'ttlMs'>;
  /** Name of this host: `diskHosts/{disk_host}`. */
  readonly diskHost: string;
  readonly clock: Clock;
}) => {
  const { leases } = parts;
  return {
    async listLeases(request: ListLeasesRequest) {
      const { diskEncryptionSet: set, diskHost } = request;
      if (set !== '') names.diskEncryptionSet.parse(set, 'disk_encryption_set');
      if (diskHost !== '') names.diskHost.parse(diskHost, 'disk_host');
      const { limit, after = '' } = pageOfRequest(request);
      if (diskHost !== '' && diskHost !== parts.diskHost) return { leases: [], nextPageToken: '' };
      const wanted = leases.list().filter((one) => (set === '' || one.lease.key.set === set) && placeOf(one) > after);
      const page = wanted.slice(0, limit);
      const last = page.at(-1);
      return {
        leases: page.map((one) => leaseOnWire(one, parts)),
        nextPageToken: pageToken(wanted.length > limit && last ? placeOf(last) : undefined),
      };
    },
  };
};

/** Names have no line ends. */
const placeOf = ({ lease: { key } }: LeaseReport): string => `${key.set}\n${key.keyVersion}`;

/** One lease as the API shows it. */
const leaseOnWire = (
  found: LeaseReport,
  { keyAccess, reports, terms, diskHost, clock }: Omit<Parameters<typeof leaseApi>[0], 'leases'>,
): WireLease => {
  const { lease, users, wonAt, unanswered, isCountedAsLost } = found;
  const { set: diskEncryptionSet, keyVersion } = lease.key;
  const now = readingOf(clock);
  const grant = lease.grant();
  const loss = keyAccess.lossOf(lease.key);
  const isHeld = lease.isHeld();
  return WireLease.fromPartial({
    diskHost,
    diskEncryptionSet,
    keyVersion,
    state: stateOfLease(found, loss !== undefined),
    winTime: timeOf(isHeld ? wonAt : undefined),
    ageMs: grant ? Math.round(ageMs(grant.sent.at, now)) : 0,
    expiresInMs: grant ? Math.max(0, Math.round(leftMs(endOf(grant, terms.ttlMs), now))) : 0,
    accessEpoch: grant?.accessEpoch ?? 0,
    openCount: users.size,
    pinnedCount: pinnedCountOf(found),
    ...(isHeld ? {} : { reason: (loss?.reason ?? 'KEY_VAULT_UNREACHABLE') satisfies KeyAccessReason }),
    since: timeOf(isHeld ? undefined : (loss?.since ?? found.endedAt)),
    silentTime: timeOf(unanswered?.at),
    silentReason: unanswered?.why ?? '',
    countedAsLost: isCountedAsLost,
    report: reportOnWire(reports.stateOf(lease.key)),
  });
};

const timeOf = (at: Instant | undefined): Date | undefined => (at === undefined ? undefined : new Date(at));

/** Disks that continue without the lease: ultra, of running machines, with a DEK in memory (CMK-102). */
const pinnedCountOf = ({ lease, users }: LeaseReport): number =>
  lease.isHeld() ? 0 : [...users].filter((user) => user.isPinnable && user.grant() !== undefined).length;

/** The state of a lease in use. @param isLost whether a loss of its key is in force */
export const stateOfLease = (
  report: LeaseReport,
  isLost: boolean,
): Extract<Lease_State, 'HELD' | 'PAUSED' | 'LOST' | 'PINNED'> => {
  if (report.lease.isHeld()) return 'HELD';
  if (pinnedCountOf(report) > 0) return 'PINNED';
  return isLost ? 'LOST' : 'PAUSED';
};

const reportOnWire = (state: ReportState | undefined): Lease_Report => {
  if (state === undefined) return 'REPORT_UNSPECIFIED';
  return ({ pending: 'PENDING', accepted: 'ACCEPTED', refused: 'REFUSED' } as const)[state];
};
