import type { CategoryDefinition } from './category-definition.ts';
import { Rejection } from './rejection.ts';

export type LampEvent =
  | { type: 'LampMade'; room: string }
  | { type: 'LampSwitched'; on: boolean }
  | { type: 'LampBroken' };
/** A lamp in a room. A broken one counts as never made. */
export type Lamp = { status: 'absent' } | { status: 'whole'; room: string; on: boolean } | { status: 'broken' };

/** Lamps, found by room and by whether they are on. Old events called the room a place. */
export const lamps: CategoryDefinition<Lamp, LampEvent> = {
  name: 'lamp',
  stateVersion: 1,
  initial: { status: 'absent' },
  evolve: (lamp, event) => {
    switch (event.type) {
      case 'LampMade':
        return { status: 'whole', room: event.room, on: false };
      case 'LampSwitched':
        return lamp.status === 'whole' ? { ...lamp, on: event.on } : lamp;
      case 'LampBroken':
        return { status: 'broken' };
    }
  },
  upcast: { LampMade: { 1: (old) => ({ room: old.place ?? 'nowhere' }) } },
  indexes: (lamp) =>
    lamp.status === 'whole'
      ? [
          { index: 'room', value: lamp.room },
          { index: 'on', value: String(lamp.on) },
        ]
      : [],
  isGone: (lamp) => lamp.status === 'broken',
};

/** Makes a lamp that does not exist yet. */
export const make =
  (room: string) =>
  (lamp: Lamp): readonly LampEvent[] =>
    lamp.status === 'absent' ? [{ type: 'LampMade', room }] : [];
/** Switches a lamp. @throws Rejection LAMP_NOT_FOUND */
export const turn =
  (on: boolean) =>
  (lamp: Lamp): readonly LampEvent[] => {
    if (lamp.status !== 'whole') throw new Rejection('NOT_FOUND', 'LAMP_NOT_FOUND', 'no such lamp');
    return lamp.on === on ? [] : [{ type: 'LampSwitched', on }];
  };
