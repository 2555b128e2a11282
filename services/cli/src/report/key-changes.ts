import type { JsonObject } from '@bufbuild/protobuf';
import type { KeyChange, Refusal } from '@interlock/lab/report/activity/activity';
import { timeOf } from './power.ts';

/** What an entry did to keys, as experiments name it. `undoes`: the action that it undoes. */
interface Action {
  readonly action: string;
  readonly undoes?: string;
}

/** How an entry of the audit log changed who may use a key; undefined if it did not. */
function actionOf({ operation, change }: JsonObject): Action | undefined {
  const text = String(change ?? '');
  if (text.endsWith(': was so already')) return undefined;
  switch (operation) {
    case 'KeyUpdate':
      if (text.startsWith('disable')) return { action: 'disable-key' };
      if (text.startsWith('enable')) return { action: 'enable-key', undoes: 'disable-key' };
      return /expire|not before/i.test(text) ? { action: 'dates changed' } : undefined;
    case 'KeyDelete':
      return { action: 'delete-key' };
    case 'KeyRecover':
      return { action: 'recover-key', undoes: 'delete-key' };
    case 'KeyPurge':
      return { action: 'purge-key' };
    case 'KeyRotate':
      return { action: 'rotate-key' };
    case 'VaultDelete':
      return { action: 'delete-vault' };
    case 'VaultRecover':
      return { action: 'recover-vault', undoes: 'delete-vault' };
    case 'VaultPatch':
      if (/^access policy of \S+: none$/.test(text)) return { action: 'remove-policy' };
      if (text.startsWith('access policy')) return { action: 'access policy set', undoes: 'remove-policy' };
      return text.startsWith('permission model') ? { action: 'switch-permission-model' } : undefined;
    default:
      return undefined;
  }
}

/**
 * Changes of keys, vaults and grants, by time. A change that restores access undoes the newest loss of the same key.
 * @param entries of the audit logs of these vaults
 * @param keys names of the keys that matter
 */
export function changesIn(
  entries: readonly JsonObject[],
  keys: readonly string[],
  short: (name: string) => string,
): readonly KeyChange[] {
  const changes: KeyChange[] = [];
  const byTime = entries.toSorted((a, b) => (timeOf(a.time) ?? 0) - (timeOf(b.time) ?? 0));
  for (const entry of byTime) {
    const found = actionOf(entry);
    const of = keys.filter((key) => concerns(entry, key));
    if (found === undefined || of.length === 0) continue;
    const targets = of.map(short);
    const undone = changes.findLast(
      ({ step }) =>
        step.action === found.undoes && step.error === undefined && step.targets.some((key) => targets.includes(key)),
    );
    const atMs = timeOf(entry.time) ?? 0;
    const isRefused = entry.result !== 'SUCCESS';
    changes.push({
      step: {
        name: `change ${changes.length + 1}`,
        action: undone === undefined && found.undoes === 'remove-policy' ? 'access policy set' : found.action,
        targets,
        ...(undone === undefined ? {} : { undoes: undone.step.name }),
        ...{ plannedMs: atMs, invokedMs: atMs, effectMs: atMs },
        ...(typeof entry.traceId === 'string' ? { traceId: entry.traceId } : {}),
        ...(isRefused ? { error: String(entry.reason ?? entry.result) } : {}),
      },
      recorded: `${entry.operation}${entry.change === '' || entry.change === undefined ? '' : `: ${entry.change}`}`,
      by: short(String(entry.caller ?? '')),
    });
  }
  return changes;
}

/** Whether an entry is about a key, one of its versions, or the whole vault. */
function concerns({ keyVersion, name }: JsonObject, key: string): boolean {
  const about = String(keyVersion ?? '');
  if (about !== '') return about === key || about.startsWith(`${key}/`);
  return key.startsWith(`${String(name).split('/').slice(0, 2).join('/')}/`);
}

/** Refused uses of these keys, equal ones together, most first. */
export function refusalsIn(
  entries: readonly JsonObject[],
  keys: readonly string[],
  short: (name: string) => string,
): readonly Refusal[] {
  const refused = entries.filter(
    (entry) => entry.result === 'REFUSED' && entry.keyVersion !== '' && keys.some((key) => concerns(entry, key)),
  );
  const equal = Map.groupBy(refused, ({ operation, keyVersion, reason, caller, onBehalfOf }) =>
    JSON.stringify([operation, keyVersion, reason, onBehalfOf || caller]),
  );
  return [...equal.entries()]
    .map(([text, same]): Refusal => {
      const [operation, key, reason, by]: readonly unknown[] = JSON.parse(text);
      const times = same.map(({ time }) => timeOf(time) ?? 0);
      return {
        operation: String(operation),
        key: short(String(key)).replace(/\/[0-9a-f]{32}$/, ''),
        reason: String(reason),
        by: short(String(by)),
        count: same.reduce((sum, { occurrenceCount }) => sum + Number(occurrenceCount ?? 1), 0),
        firstMs: times.reduce((a, b) => Math.min(a, b)),
        lastMs: times.reduce((a, b) => Math.max(a, b)),
      };
    })
    .toSorted((a, b) => b.count - a.count);
}
