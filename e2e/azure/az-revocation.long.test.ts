import { after, before } from 'node:test';
import { type Az, azMissing, openAz, signIn } from './az.ts';
import { azLossClient } from './az-losses.ts';
import { type LossClient, type LossWorld, openLossWorld, testEveryLoss } from './key-losses.ts';
import { type AzureCloud, azureCloud } from './test-azure-cloud.ts';

const missing = azMissing();
let cloud: AzureCloud;
let opened: LossWorld;
let az: Az;
let client: LossClient;

before(async () => {
  if (missing !== undefined) return;
  cloud = await azureCloud();
  const { access } = cloud;
  opened = await openLossWorld({ ...cloud, ...access }, 'kv-az-revoke');
  az = await openAz(access);
  await signIn(az, access, cloud.test.cloud.administrator.secret);
  client = azLossClient(az, opened);
});
after(async () => {
  az?.close();
  await cloud?.stop();
});

testEveryLoss(() => ({ client, content: opened.content }), { skip: missing ?? false });
