import { type Breaks, change, doesNotStart, lacks, one, violates } from './test-breaking.ts';

/** The part about losing a key and restoring access, and later rules by number. The lab's judge has tests of its own. */
export const lossBreaks: Breaks = {
  'CMK-100': {
    'a machine stops that the preview did not name': (e) => e.impact.stops.pop(),
    'a machine with one data disk under the key keeps running': (e) => violates(e.keyLost, 'vm-premium-v2.stopped'),
    'a stop has another reason': (e) => violates(e.everyWay, 'delete-key.reason'),
    'a stop after the deletion has another reason': (e) => change(one(e.deleted), { reason: 'KEY_EXPIRED' }),
    'a disk serves I/O after the loss': (e) => violates(e.keyLost, 'vm-ssd.lastGoodIo'),
    'the judge saw no loss': (e) => lacks(e.keyLost, 'CMK-100 '),
    'the run proves nothing': (e) => change(e.keyLost, { outcome: 'inconclusive' }),
  },
  'CMK-101': {
    'a machine with a Standard HDD keeps running': (e) => violates(e.keyLost, 'vm-hdd.stopped'),
    'a machine with a Standard SSD keeps running': (e) => violates(e.keyLost, 'vm-ssd.stopped'),
    'a machine with a Premium SSD was not looked at': (e) => lacks(e.keyLost, 'vm-premium.stopped'),
  },
  'CMK-102': {
    'the preview did not say that it will not start': (e) => change(e.impact, { failsAtNextStart: [] }),
    'the ultra machine stops': (e) => violates(e.keyLost, 'vm-ultra.running'),
    'its reads fail': (e) => violates(e.keyLost, 'vm-ultra.failed'),
    'it stops after the deletion': (e) =>
      change(
        one(e.deleted, ({ onLoss }) => onLoss === 'keeps running'),
        { power: 'STOPPED' },
      ),
    'it starts under the lost key': (e) => change(e.ultraWhileDeleted.start, { outcome: 'running' }),
    'the failure does not say which disk': (e) => change(e.ultraWhileDeleted, { namesDisk: false }),
  },
  'CMK-103': { 'the mixed machine keeps running': (e) => violates(e.keyLost, 'vm-mixed.stopped') },
  'CMK-104': {
    'a machine keeps running after the key has expired': (e) => violates(e.everyWay, 'expire-key.stopped'),
    'no key expired': (e) => lacks(e.everyWay, 'expire-key.'),
  },
  'CMK-105': {
    'the vault refuses no use without the grant': (e) => violates(e.keyLost, 'withdrawn: unwrap-refused'),
    'a machine starts without the grant': (e) => violates(e.keyLost, 'vm-hdd.startRefused <= withdrawn'),
    'a machine keeps running without the grant': (e) => violates(e.everyWay, 'remove-policy.stopped'),
    'a machine does not start after the grant was restored': (e) => violates(e.everyWay, 'remove-policy.back'),
  },
  'CMK-106': {
    'a machine starts under the disabled key': (e) => violates(e.keyLost, 'CMK-106 '),
    'the start of a machine was not tried': (e) => lacks(e.keyLost, 'vm-mixed.startRefused'),
    'a deallocated machine starts under the lost key': (e) => change(e.ultraWhileDeleted.start, { outcome: 'running' }),
  },
  'CMK-110': {
    'a disk was created': (e) => change(one(e.refusedWhileDeleted.attempts), { outcome: 'done' }),
    'a refused disk is left over': (e) => change(one(e.refusedWhileDeleted.leftovers), { outcome: 'done', code: 'OK' }),
    'the machine shows the disk whose attach was refused': (e) => change(e.refusedWhileDeleted, { hostDataDisks: 1 }),
  },
  'CMK-111': {
    'a machine without the key stops': (e) => violates(e.keyLost, 'vm-platform.running'),
    'a machine under another key has a failed read': (e) => violates(e.keyLost, 'vm-other-key.failed'),
    'a machine without the key stops after the deletion': (e) =>
      change(
        one(e.deleted, ({ onLoss }) => onLoss === 'untouched'),
        { power: 'STOPPED' },
      ),
  },
  'CMK-120': {
    'a machine is not back after enabling': (e) => violates(e.keyLost, 'vm-hdd.back'),
    'a machine was not started': (e) => lacks(e.keyLost, 'vm-ssd.back'),
    'a byte is lost': (e) => violates(e.everyWay, 'bytesLost'),
  },
  'CMK-121': {
    'a machine does not start under the other key': (e) => doesNotStart(e.assigned, 'vm-hdd'),
    'a machine was not started': (e) =>
      change(e.assigned, { starts: e.assigned.starts.filter(({ machine }) => machine !== 'vm-premium') }),
    'a machine runs but does nothing': (e) =>
      change(
        one(e.assigned.io, ({ machine }) => machine === 'vm-hdd'),
        { writes: 0 },
      ),
  },
  'CMK-122': { 'a machine does not run again': (e) => violates(e.everyWay, 'delete-key.back') },
  'CMK-123': {
    'a stop has another reason': (e) => violates(e.everyWay, 'remove-permission-get.reason'),
    'a guest does not find what it wrote': (e) => violates(e.everyWay, 'bytesLost'),
  },
  'CMK-126': {
    'the ultra machine does not start after enabling': (e) => e.ultraStarts.pop(),
    'the ultra machine was not refused before': (e) => e.ultraStarts.shift(),
    'the ultra machine does not start under another key': (e) => doesNotStart(e.assigned, 'vm-ultra'),
  },
  'CMK-127': {
    'a sector differs': (e) => change(e.content, { mismatches: 1 }),
    'a disk has another hash': (e) => change(one(e.content.perDisk), { found: 'b'.repeat(64) }),
    'a disk was counted but not compared': (e) => {
      e.content.disks += 1;
    },
    'nothing was compared': (e) => change(e.content, { bytesCompared: 0, records: 0 }),
    'a guest found other content than it wrote': (e) => change(e.assigned, { mismatched: 1 }),
    'the lab lost a byte': (e) => violates(e.keyLost, 'bytesLost'),
  },
  'CMK-130': {
    'the set was deleted': (e) => change(e.setInUse.deletion, { outcome: 'done' }),
    'the refusal names no user of the set': (e) => change(e.setInUse, { users: [] }),
    'the set is left half deleted': (e) => change(e.setInUse, { stateAfterwards: 'DELETING' }),
  },
  'CMK-133': { 'a machine keeps running without its vault': (e) => violates(e.everyWay, 'delete-vault.stopped') },
  'CMK-144': {
    'a row has no versioned URL': (e) =>
      change(
        one(e.audit, ({ operation }) => operation === 'KeyWrap'),
        { requestUri: 'https://rehearsal.vault.test/keys/house' },
      ),
    'denied uses are missing': (e) =>
      change(e, { audit: e.audit.filter(({ operation }) => operation !== 'KeyCheckAccess') }),
    'a row has no correlation id': (e) =>
      change(
        one(e.audit, ({ operation, result }) => operation === 'KeyUnwrap' && result === 'SUCCESS'),
        { correlationId: '' },
      ),
  },
};
