import {
  type Breaks,
  type Broken,
  doesNotStart,
  failsIo,
  keepsRunning,
  machineOf,
  one,
  stopsUnrequested,
} from './test-breaking.ts';

/** The evidence of a timed cause. */
const timedOf = (evidence: Broken, name: string) => one(evidence.timed, ({ cause }) => cause === name);

/** The part about losing a key and restoring access, and later rules by number. */
export const lossBreaks: Breaks = {
  'CMK-100': {
    'a machine stops that the preview did not name': (e) => {
      e.impact.stops.pop();
    },
    'a machine with one data disk under the key keeps running': (e) => keepsRunning(e.disabled, 'vm-premium-v2'),
    'a stop has another reason': (e) => {
      machineOf(e.deleted, 'vm-hdd').reason = 'KEY_EXPIRED';
    },
    'a disk serves I/O after the stop': (e) => {
      machineOf(e.disabled, 'vm-ssd').lastGoodIoAt = 20_000;
    },
  },
  'CMK-101': {
    'a machine with a Standard HDD keeps running': (e) => keepsRunning(e.disabled, 'vm-hdd'),
    'a machine with a Standard SSD keeps running': (e) => keepsRunning(e.deleted, 'vm-ssd'),
    'a machine with a Premium SSD keeps running': (e) => keepsRunning(e.disabled, 'vm-premium'),
  },
  'CMK-102': {
    'the preview did not say that it will not start': (e) => {
      e.impact.failsAtNextStart = [];
    },
    'the ultra machine stops': (e) => stopsUnrequested(e.disabled, 'vm-ultra'),
    'its reads fail': (e) => failsIo(e.deleted, 'vm-ultra'),
    'it starts under the lost key': (e) => {
      e.ultraWhileDisabled.start.outcome = 'running';
    },
    'the failure does not say which disk': (e) => {
      e.ultraWhileDisabled.namesDisk = false;
    },
  },
  'CMK-103': { 'the mixed machine keeps running': (e) => keepsRunning(e.disabled, 'vm-mixed') },
  'CMK-104': {
    'a machine keeps running after the key has expired': (e) => {
      one(timedOf(e, 'expire-key').machines).stoppedAfterMs = Number.NaN;
    },
    'no key expired': (e) => {
      e.timed = e.timed.filter(({ cause }) => cause !== 'expire-key');
    },
  },
  'CMK-105': {
    'data can be read without the grant': (e) => {
      one(e.blockedWhileWithdrawn).outcome = 'done';
    },
    'a machine keeps running without the grant': (e) => keepsRunning(e.withdrawn, 'vm-hdd'),
    'a machine does not start after the grant was restored': (e) => doesNotStart(e.granted, 'vm-ssd'),
  },
  'CMK-106': {
    'a machine starts under the disabled key': (e) => {
      one(e.disabled.starts).outcome = 'running';
    },
    'a start fails for another reason': (e) => {
      one(e.withdrawn.starts).code = 'INTERNAL';
    },
    'the start of a machine was not tried': (e) => {
      e.disabled.starts.pop();
    },
  },
  'CMK-110': {
    'a disk was created': (e) => {
      one(e.refusedWhileDisabled.attempts).outcome = 'done';
    },
    'a refused disk is left over': (e) => {
      Object.assign(one(e.refusedWhileDisabled.leftovers), { outcome: 'done', code: 'OK' });
    },
    'the machine shows the disk whose attach was refused': (e) => {
      e.refusedWhileDisabled.hostDataDisks = 1;
    },
  },
  'CMK-111': {
    'a machine without the key stops': (e) => stopsUnrequested(e.disabled, 'vm-platform'),
    'a machine under another key has a failed read': (e) => failsIo(e.deleted, 'vm-other-key'),
    'a machine without the key was restarted': (e) => {
      machineOf(e.withdrawn, 'vm-platform').startTimeAfter += 1;
    },
  },
  'CMK-120': {
    'a machine does not start after enabling': (e) => doesNotStart(e.enabled, 'vm-hdd'),
    'a machine was not started': (e) => {
      e.enabled.starts = e.enabled.starts.filter(({ machine }) => machine !== 'vm-ssd');
    },
    'a timed machine did not find all that it wrote': (e) => {
      one(timedOf(e, 'disable-key').machines).verified -= 1;
    },
    'a timed machine wrote nothing': (e) => {
      Object.assign(one(timedOf(e, 'disable-key').machines), { written: 0, verified: 0 });
    },
    'a machine runs but does nothing': (e) => {
      one(e.enabled.io, ({ machine }) => machine === 'vm-hdd').writes = 0;
    },
  },
  'CMK-121': {
    'a machine does not start under the other key': (e) => doesNotStart(e.assigned, 'vm-hdd'),
    'a machine was not started': (e) => {
      e.granted.starts = e.granted.starts.filter(({ machine }) => machine !== 'vm-premium');
    },
  },
  'CMK-122': {
    'a machine does not run again': (e) => {
      one(timedOf(e, 'delete-key').machines).runningAfterMs = Number.NaN;
    },
  },
  'CMK-123': {
    'a stop has another reason': (e) => {
      one(timedOf(e, 'remove-permission get').machines).reason = 'KEY_DISABLED';
    },
    'a guest finds other content than it wrote': (e) => {
      one(timedOf(e, 'remove-role').machines).mismatched = 1;
    },
  },
  'CMK-126': {
    'the ultra machine does not start after enabling': (e) => doesNotStart(e.enabled, 'vm-ultra'),
    'the ultra machine does not start under another key': (e) => doesNotStart(e.assigned, 'vm-ultra'),
  },
  'CMK-127': {
    'a sector differs': (e) => {
      e.content.mismatches = 1;
    },
    'a disk has another hash': (e) => {
      one(e.content.perDisk).found = 'b'.repeat(64);
    },
    'a disk was counted but not compared': (e) => {
      e.content.disks += 1;
    },
    'nothing was compared': (e) => {
      Object.assign(e.content, { bytesCompared: 0, records: 0 });
    },
    'a guest found other content than it wrote': (e) => {
      e.assigned.mismatched = 1;
    },
  },
  'CMK-130': {
    'the set was deleted': (e) => {
      e.setInUse.deletion.outcome = 'done';
    },
    'the refusal names no user of the set': (e) => {
      e.setInUse.users = [];
    },
    'the set is left half deleted': (e) => {
      e.setInUse.stateAfterwards = 'DELETING';
    },
  },
  'CMK-133': {
    'a read succeeds after the stop': (e) => {
      one(timedOf(e, 'delete-vault').machines).lastGoodIoAfterMs = 9_000;
    },
  },
  'CMK-144': {
    'a row has no versioned URL': (e) => {
      one(e.audit, ({ operation }) => operation === 'KeyWrap').requestUri = 'https://rehearsal.vault.test/keys/house';
    },
    'denied uses are missing': (e) => {
      e.audit = e.audit.filter(({ operation }) => operation !== 'KeyCheckAccess');
    },
    'a row has no correlation id': (e) => {
      one(e.audit, ({ operation, result }) => operation === 'KeyUnwrap' && result === 'SUCCESS').correlationId = '';
    },
  },
};
