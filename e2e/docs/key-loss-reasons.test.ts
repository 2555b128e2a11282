import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AccessReason, accessReasons, lossReasonOf, messageOf, publicCodes } from '@interlock/access';
import { helpFor } from '../../libs/rpc/src/help.ts';
import { instanceViewOf } from '../../services/compute/src/vm/instance-view.ts';
import { disk, diskOf, fold, lossOf, stopped, vm } from '../../services/compute/src/vm/test-machine.ts';
import { answersByReason, keyCodes, type Plane } from '../../services/gateway/src/errors/answers.ts';
import { causes } from '../truth-table/causes.ts';
import { textOf } from './sources.ts';

/** Code of the status of a disk whose key is lost for the reason. */
const diskCode = (reason: AccessReason): string | undefined => {
  const disks = [disk('os', 0, 'PREMIUM_SSD')];
  const events = stopped(disks);
  const loss = { ...lossOf('one', 7), reason, disk: diskOf('os') };
  const { disks: shown } = instanceViewOf({ id: vm, state: fold(events), version: events.length }, [loss]);
  return shown[0]?.statuses[0]?.code;
};

/** An unreachable vault answers nothing itself; other answers to it go by their code. */
const isAnswered = (plane: Plane, reason: AccessReason): boolean =>
  reason === 'KEY_VAULT_UNREACHABLE' || Object.hasOwn(answersByReason[plane], reason);
const isOn = (page: string, reason: AccessReason): boolean => textOf(page).includes(`\n| \`${reason}\` |`);

/** Where each reason must have a text or a code of its own. */
const places: Readonly<Record<string, (reason: AccessReason) => boolean>> = {
  'the message for a customer': (reason) => messageOf({ reason, keyVersion: 'v', set: 's' }).length > 0,
  'the code of a resource, libs/access': (reason) => publicCodes[reason].startsWith('KeyVault'),
  'the instance view of compute': (reason) => diskCode(reason) === `ProvisioningState/failed/${publicCodes[reason]}`,
  'codes of the gateway': (reason) => reason === 'THROTTLED' || keyCodes[reason] === publicCodes[reason],
  'management answers of the gateway': (reason) => isAnswered('management', reason),
  'vault answers of the gateway': (reason) => isAnswered('vault', reason),
  'what to do, in the CLI': (reason) => helpFor(reason) !== undefined,
  'docs/errors.md': (reason) => isOn('docs/errors.md', reason),
  // No action of an owner removes one version of a key.
  'a cause in the truth table': (reason) =>
    reason === 'KEY_VERSION_NOT_FOUND' || causes.some((cause) => cause.reason === reason),
  // An outage is no loss that an owner gives back.
  'how to give it back, in docs/how-to': (reason) =>
    lossReasonOf(reason) === undefined ||
    textOf('docs/how-to/revoke-and-give-back.md').includes(`\`${reason}\``) ||
    reason === 'KEY_VERSION_NOT_FOUND',
};

test('G10: each reason why a key cannot be used is known in each place that shows it', () => {
  const missing = accessReasons.flatMap((reason) =>
    Object.entries(places).flatMap(([place, knows]) => (knows(reason) ? [] : [`${reason}: ${place}`])),
  );
  assert.deepEqual(missing, []);
});
