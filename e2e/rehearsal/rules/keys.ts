import { shortName } from '@interlock/lab/short-name';
import { all, each, finding, listed, rule, shortVersion } from './rule.ts';

/** Rules about the content of the disks and the accepted keys (CMK-12, 13, 20, 25, 130, 144). */
export const keyRules = [
  rule('CMK-12', 'Data on disk is encrypted with AES-256 under a data key of each disk', ['files'], ({ files }) => [
    all(
      files.disks,
      ({ plaintextPlaces, searchedPlaces, allocatedBytes }) =>
        plaintextPlaces === 0 && searchedPlaces > 0 && allocatedBytes > 0,
      (seen) =>
        `${seen.reduce((sum, disk) => sum + disk.searchedPlaces, 0)} written places of ${seen.length} files were searched, ${seen.reduce((sum, disk) => sum + disk.plaintextPlaces, 0)} hold plain text`,
    ),
    all(
      files.disks,
      ({ isReadableByOwner, cipher }) => isReadableByOwner && cipher === 'AES-256-XTS-4096',
      (seen) =>
        `decrypted outside the cloud as ${listed([...new Set(seen.map(({ cipher }) => cipher))])}: ${listed(seen.map(({ disk, isReadableByOwner }) => `${shortName(disk)} ${isReadableByOwner ? 'right' : 'wrong'}`))}`,
    ),
    finding(
      files.distinctDeks === files.disks.length,
      `${files.disks.length} disks have ${files.distinctDeks} different data keys`,
    ),
  ]),

  rule(
    'CMK-13',
    'A data key is stored only wrapped, by the customer’s RSA key',
    ['files', 'keys'],
    ({ files, keys }) => [
      all(
        files.disks,
        ({ keyVersion, wrappedBytes, algorithm }) =>
          keyVersion === keys.imported.name &&
          wrappedBytes * 8 === keys.imported.keySizeBits &&
          algorithm === 'RSA-OAEP-256',
        (seen) =>
          `${seen.length} headers hold a wrap of ${seen[0]?.wrappedBytes ?? 0} bytes (${seen[0]?.algorithm ?? ''}) by ${listed([...new Set(seen.map(({ keyVersion }) => shortVersion(keyVersion)))])}`,
      ),
      all(
        files.disks,
        ({ isReadableByOwner, isReadableByOther }) => isReadableByOwner && !isReadableByOther,
        (seen) =>
          `the owner’s private key opens ${seen.filter((disk) => disk.isReadableByOwner).length} of ${seen.length}, another key ${seen.filter((disk) => disk.isReadableByOther).length}`,
      ),
      finding(
        files.dekSearch.places > 0 && files.dekSearch.leaks.length === 0,
        `data keys in plain were looked for in ${files.dekSearch.places} files (${Math.round(files.dekSearch.bytes / 1e6)} MB) of every service and server, and found in ${listed(files.dekSearch.leaks.map(({ place, name, form }) => `${place} (${shortName(name)} as ${form})`))}`,
      ),
    ],
  ),

  rule('CMK-20', 'Only RSA keys of 2,048, 3,072 or 4,096 bits are accepted', ['keys'], ({ keys }) => [
    each(
      keys.refused,
      ({ outcome, code, reason }) => outcome === 'refused' && code === 'INVALID_ARGUMENT' && reason !== '',
      ({ what, outcome, code, reason }) => `${what}: ${outcome} ${code} ${reason}`,
    ),
    each(
      [keys.generated, keys.imported],
      ({ keySizeBits }) => [2048, 3072, 4096].includes(keySizeBits),
      ({ name, keySizeBits }) => `${shortVersion(name)} (${keySizeBits} bits)`,
      'taken were ',
    ),
  ]),

  rule('CMK-25', 'The identity needs all of get, wrapKey and unwrapKey', ['grants'], ({ grants }) => [
    finding(grants.incomplete.length === 3, `${grants.incomplete.length} of 3 pairs were tried`),
    each(
      grants.incomplete,
      ({ disk }) => disk.outcome === 'refused' && disk.reason === 'ACCESS_DENIED',
      ({ granted, disk }) => `${granted.join(' and ')}: ${disk.reason || disk.outcome}`,
    ),
    finding(grants.complete.outcome === 'done', `all three: ${grants.complete.outcome}`),
  ]),

  rule('CMK-130', 'A set that disks use cannot be deleted', ['setInUse', 'disks'], ({ setInUse, disks }) => {
    const { deletion, stateAfterwards, users } = setInUse;
    const known = disks.map(({ name }) => name);
    return [
      finding(
        deletion.outcome === 'refused' && deletion.reason === 'DISK_ENCRYPTION_SET_IN_USE',
        `the deletion was ${deletion.outcome}: ${deletion.reason}`,
      ),
      each(users, (user) => known.includes(user), shortName, 'the refusal names '),
      finding(stateAfterwards === 'SUCCEEDED', `afterwards the set is ${stateAfterwards}`),
    ];
  }),

  rule(
    'CMK-144',
    'The record has each wrap, unwrap and refusal: who, key version, result, correlation, address, duration',
    ['audit', 'sets'],
    ({ audit, sets }) => {
      const identities = sets.map(({ principal }) => principal);
      const rows = audit.filter(
        ({ operation, caller }) =>
          identities.includes(caller) && ['KeyWrap', 'KeyUnwrap', 'KeyCheckAccess'].includes(operation),
      );
      const denied = rows.filter(({ httpStatusCode, result }) => httpStatusCode === 403 && result === 'REFUSED');
      return [
        ...['KeyWrap', 'KeyUnwrap'].map((operation) => {
          const own = rows.filter((row) => row.operation === operation);
          return finding(own.length > 0, `${own.length} rows of ${operation}`);
        }),
        all(
          rows,
          (row) =>
            /^https:\/\/.+\/keys\/[^/]+\/[0-9a-f]{32}$/.test(row.requestUri) &&
            row.httpStatusCode >= 200 &&
            row.correlationId !== '' &&
            row.durationUs >= 0 &&
            row.callerAddress !== '',
          (seen) =>
            `${seen.length} rows have caller, versioned URL, status, correlation id, address and duration, like ${seen[0]?.operation ?? ''} ${seen[0]?.requestUri ?? ''} ${seen[0]?.httpStatusCode ?? ''} by ${seen[0]?.caller ?? ''} from ${seen[0]?.callerAddress ?? ''}`,
        ),
        finding(denied.length > 0, `${denied.length} denied uses are on record with 403`),
      ];
    },
  ),
];
