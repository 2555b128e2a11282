import { after, before } from 'node:test';
import { type Az, azMissing, openAz, signIn } from './az.ts';
import { azLossClient } from './az-losses.ts';
import { type LossClient, type LossWorld, openLossWorld, testEveryLoss } from './key-losses.ts';

const missing = azMissing();
let opened: LossWorld;
let az: Az;
let client: LossClient;

before(async () => {
  if (missing !== undefined) return;
  opened = await openLossWorld('kv-az-revoke');
  az = await openAz(opened.cloud.access);
  await signIn(az, opened.cloud.access, opened.cloud.test.cloud.administrator.secret);
  client = azLossClient(az, opened);
});
after(async () => {
  az?.close();
  await opened?.cloud.stop();
});

testEveryLoss(() => ({ client, content: opened.content }), { skip: missing ?? false });
