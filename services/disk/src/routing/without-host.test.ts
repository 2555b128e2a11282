import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, fakeFleet, refusal, silence } from './test-fleet.ts';

const group = 'subscriptions/s/resourceGroups/g';
const disk = (id: number): string => `${group}/disks/${id}`;
const virtualMachine = `${group}/virtualMachines/vm`;
const closing = (id: number) => ({ name: disk(id), virtualMachine, deallocated: false, attachEpoch: 0, cause: '' });

test('G2: what a host that does not respond has to close or detach is done without it, and nothing else is', async () => {
  const { api } = fakeFleet(
    {
      'disk-0': { responds: false, methods: { closeDisks: silence, detachDisk: silence } },
      'disk-1': {
        methods: {
          closeDisks: async ({ closings = [] }) => ({
            outcomes: closings.map(() => ({ outcome: { $case: 'closed', value: {} }, event: 'disk-1' })),
          }),
          detachDisk: async () => {
            throw refusal('INTERNAL');
          },
        },
      },
    },
    { [disk(0)]: 'disk-0', [disk(1)]: 'disk-1' },
  );
  const { outcomes } = await api.closeDisks({ closings: [closing(1), closing(0)] }, call);
  assert.deepEqual(
    outcomes.map(({ event }) => event),
    ['disk-1', `without disk-0: ${disk(0)}`],
  );
  const detach = (id: number) => api.detachDisk({ name: disk(id), virtualMachine, requestId: '' }, call);
  assert.equal((await detach(0)).diskHost, 'without disk-0');
  await assert.rejects(detach(1), { reason: 'INTERNAL' });
});
