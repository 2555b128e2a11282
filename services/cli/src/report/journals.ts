import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IoRecord } from '@interlock/experiment';
import { isObject } from '../request/schema.ts';

/** Reads the journals of guests that this user may read. @param folder where compute keeps its guests; @param machines full names */
export function readJournals(folder: string, machines: readonly string[], fromMs: number): readonly IoRecord[] {
  return machines
    .flatMap((machine) =>
      ['io.jsonl.1', 'io.jsonl']
        .map((file) => join(folder, ...machine.split('/'), file))
        .filter((path) => existsSync(path))
        .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
        .flatMap((line) => recordOf(machine, line)),
    )
    .filter(({ completedMs }) => completedMs >= fromMs)
    .toSorted((a, b) => a.completedMs - b.completedMs);
}

/** An operation of a line; empty if the line is malformed, or was cut short when its guest ended. */
function recordOf(machine: string, line: string): readonly IoRecord[] {
  if (!line.endsWith('}')) return [];
  const entry = parsed(line);
  const { disk, op, seq, invokedAt, completedAt, ok, reason } = entry ?? {};
  if (op !== 'read' && op !== 'verify' && op !== 'write' && op !== 'flush') return [];
  return [
    {
      machine,
      disk: String(disk),
      op: op === 'verify' ? 'read' : op,
      seq: Number(seq ?? 0),
      invokedMs: Number(invokedAt),
      completedMs: Number(completedAt),
      invokedMonotonicMs: Number(entry?.invokedMonotonicMs ?? 0),
      completedMonotonicMs: Number(entry?.completedMonotonicMs ?? 0),
      ok: ok === true,
      reason: String(reason ?? ''),
    },
  ];
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    // Two runs of a guest wrote one line: the first was killed within it.
    return undefined;
  }
}
