import type { Loaded } from '@interlock/event-store';
import type { Creating, Machine, Vm } from '../vm/state.ts';
import { attachDisk, detachDisk, undoAttachment } from './attachment.ts';
import { createMachine, undoneCreation } from './creation.ts';
import { type NextProcess, nextRun, type Process, type ProcessParts } from './process.ts';
import { startMachine } from './starting.ts';
import { closeDisks, deallocateMachine, deleteMachine, stopForRestart, stopMachine } from './stopping.ts';

const row = <State extends Creating | Machine>(process: Process<State>) => ({
  name: process.name,
  next: (parts: ProcessParts, loaded: Loaded<Vm>): NextProcess | undefined => nextRun(process, parts, loaded),
});

/** Every process of a machine. At most one of them applies to a state. */
export const processes = [
  row(createMachine),
  row(undoneCreation),
  row(startMachine),
  row(stopMachine),
  row(stopForRestart),
  row(deallocateMachine),
  row(deleteMachine),
  row(attachDisk),
  row(undoAttachment),
  row(detachDisk),
  row(closeDisks),
];

/** The process that is next for a machine; `undefined` if nothing is to be done. */
export const nextProcess = (parts: ProcessParts, loaded: Loaded<Vm>): NextProcess | undefined => {
  for (const { next } of processes) {
    const found = next(parts, loaded);
    if (found) return found;
  }
  return undefined;
};
