import {
  type Breaks,
  change,
  failsIo,
  keepsRunning,
  machineOf,
  one,
  stopsUnrequested,
  violates,
} from './test-breaking.ts';
import { first } from './test-evidence.ts';
import { lossBreaks } from './test-loss-breaks.ts';

/** What breaks each rule, by rule id and description. A rule that is missing here has no test, and a test reports that. */
export const breaks: Breaks = {
  'CMK-01': {
    'another principal created the vault': (e) =>
      change(
        one(e.audit, ({ operation }) => operation === 'VaultPut'),
        { caller: e.people.vmUser },
      ),
    'the vault has no purge protection': (e) => change(e.vault, { purgeProtectionEnabled: false }),
  },
  'CMK-02': {
    'the imported key is not the one that its owner made': (e) => change(e.keys, { isOwnMaterial: false }),
    'the generated key has another size': (e) => change(e.keys.generated, { keySizeBits: 4096 }),
  },
  'CMK-03': {
    'the set names another key': (e) => change(one(e.sets), { keyUrl: 'https://elsewhere/keys/k/v' }),
    'a disk of the set is not listed': (e) => e.rotation.resources.pop(),
  },
  'CMK-04': {
    'the identity belongs to something else': (e) => change(one(e.sets).identity, { owner: 'another set' }),
    'two sets share an identity': (e) => {
      for (const set of e.sets) set.principal = 'principals/same';
    },
  },
  'CMK-05': {
    'the first disk works without a grant': (e) => change(e.grants.firstDisk, { outcome: 'done' }),
    'a refused disk is left over': (e) => change(e.grants.afterwards, { reason: '' }),
    'the identity has access without a grant': (e) => change(one(e.sets), { isGrantedAtCreation: true }),
    'the disk also fails with the grant': (e) => change(e.grants.complete, { outcome: 'refused' }),
  },
  'CMK-06': {
    'the VM user may list keys': (e) => change(one(e.people.vmUserAtVault), { outcome: 'done' }),
    'moving the disk changed its content': (e) => change(e.move, { isContentSame: false }),
    'a disk class is missing': (e) => change(e, { disks: e.disks.filter(({ sku }) => sku !== 'PREMIUM_SSD_V2') }),
  },
  'CMK-07': {
    'another principal unwraps': (e) =>
      change(
        one(e.audit, ({ operation, result }) => operation === 'KeyUnwrap' && result === 'SUCCESS'),
        { caller: 'principals/x' },
      ),
  },
  'CMK-08': {
    'a disk was never wrapped by the vault': (e) =>
      change(e, {
        audit: e.audit.filter(({ operation, resource }) => operation !== 'KeyWrap' || !resource.endsWith('/hdd-os')),
      }),
    'a file does not decrypt with its data key': (e) => change(one(e.files.disks), { isReadableByOwner: false }),
  },
  'CMK-09': {
    'a read failed under a customer key': (e) => failsIo(e, 'vm-hdd'),
    'a disk was never used': (e) => machineOf(e, 'vm-mixed').io.disks.pop(),
  },
  'CMK-10': {
    'a machine keeps running after the deletion': (e) => keepsRunning(e.deleted, 'vm-ssd'),
    'a machine keeps running after the key was disabled': (e) => violates(e.keyLost, 'vm-hdd.stopped'),
    'a machine keeps running without the grant': (e) => violates(e.everyWay, 'remove-policy.stopped'),
  },
  'CMK-11': {
    'a row does not say which key version': (e) =>
      change(
        one(e.audit, ({ operation }) => operation === 'KeyWrap'),
        { keyVersion: '' },
      ),
    'one of the identities has no row': (e) =>
      change(e, { audit: e.audit.filter(({ caller }) => caller !== 'principals/lodge') }),
  },
  'CMK-12': {
    'plain text is in a file': (e) => change(one(e.files.disks), { plaintextPlaces: 1 }),
    'two disks share a data key': (e) => {
      e.files.distinctDeks -= 1;
    },
    'nothing was searched': (e) => change(one(e.files.disks), { searchedPlaces: 0 }),
  },
  'CMK-13': {
    'a file contains a data key in plain text': (e) =>
      e.files.dekSearch.leaks.push({ place: 'file logs/disk.log', name: 'hdd-os', form: 'hex' }),
    'another key opens the wrap': (e) => change(one(e.files.disks), { isReadableByOther: true }),
    'the wrap is not of an RSA key of that size': (e) => change(one(e.files.disks), { wrappedBytes: 32 }),
  },
  'CMK-15': {
    'data was rewritten': (e) => change(one(e.rotation.rewraps), { isDataUntouched: false }),
    'the wrap is the old one': (e) => change(one(e.rotation.rewraps), { isWrapChanged: false }),
    'the data key is another one': (e) => change(one(e.files.disks), { isSameDek: false }),
  },
  'CMK-16': { 'a write failed during rotation': (e) => failsIo(e.rotation.machines, 'vm-ssd') },
  'CMK-20': {
    'an elliptic-curve key was accepted': (e) => change(one(e.keys.refused), { outcome: 'done' }),
  },
  'CMK-25': {
    'two permissions were enough': (e) => change(one(e.grants.incomplete).disk, { outcome: 'done' }),
    'one pair was not tried': (e) => e.grants.incomplete.pop(),
  },
  'CMK-27': {
    'the machine keeps running after the switch': (e) => violates(e.everyWay, 'switch-permission-model.stopped'),
  },
  'CMK-38': {
    'a machine keeps running after its set lost its identity': (e) => violates(e.everyWay, 'set-identity-none.stopped'),
  },
  'CMK-80': {
    'a disk did not move': (e) => change(one(e.rotation.resources), { keyVersion: first }),
    'a header still names the old version': (e) => change(one(e.rotation.rewraps), { keyVersionAfter: first }),
  },
  'CMK-82': {
    'a machine was restarted': (e) => {
      machineOf(e.rotation.machines, 'vm-hdd').startTimeAfter += 1;
    },
    'a machine did no I/O during the rotation': (e) =>
      change(machineOf(e.rotation.machines, 'vm-hdd').io, { reads: 0, writes: 0 }),
  },
  'CMK-83': {
    'the old version was disabled too early': (e) => change(e.rotation, { wereBothEnabled: false }),
    'the set still lists the old version': (e) => e.rotation.previousKeysAfter.push(first),
    'a rewrap is not in the audit log': (e) =>
      change(e, {
        audit: e.audit.filter(({ operation, resource }) => operation !== 'KeyRewrap' || !resource.endsWith('/ssd-os')),
      }),
    'a machine stopped when the old version was disabled': (e) => stopsUnrequested(e.oldVersionDisabled, 'vm-premium'),
  },
  ...lossBreaks,
};
