import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { rowsOf } from './row.ts';
import { need, on, role, workload } from './rule.ts';
import { services } from './who.ts';

const reads = role(need('platform/messaging/read', on.platform));

/** Who may call the messaging of each service. */
export const messagingTable = services.flatMap((service) =>
  rowsOf(
    service,
    MessagingServiceDefinition,
  )({
    readFeed: { rule: workload(...services), request: () => ({ partition: 0, limit: 1, partitionCount: 4 }) },
    readEvents: { rule: role(need('platform/events/read', on.platform)), request: () => ({}) },
    listParkedFacts: { rule: reads, request: () => ({}) },
    replayParkedFact: {
      rule: role(need('platform/messaging/write', on.platform)),
      request: () => ({ name: 'parkedFacts/identity-1' }),
    },
    listConsumers: { rule: reads, request: () => ({}) },
    getRelay: { rule: reads, request: () => ({}) },
    listReplicas: { rule: reads, request: () => ({}) },
  }),
);
