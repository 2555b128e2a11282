import { Service } from '../request/schema.ts';
import { nounOf, type Verb } from './verb.ts';

const noun = (name: string) => nounOf('any', Service.messaging, name);

/** The RPCs of every service about its messages. */
export const messagingVerbs: readonly Verb[] = [
  noun('parked')('list', 'ListParkedFacts'),
  noun('parked')('replay', 'ReplayParkedFact', { targets: [{ word: 'fact', field: 'name' }] }),
  noun('consumers')('list', 'ListConsumers', { isDefault: true }),
  noun('relay')('show', 'GetRelay', { isDefault: true, asksAll: true }),
  noun('replicas')('list', 'ListReplicas', { isDefault: true }),
  noun('feed')('read', 'ReadFeed'),
  // `interlock events`
  noun('feed')('events', 'ReadEvents', { isCustom: true }),
];
