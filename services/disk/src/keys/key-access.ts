import type { LossFacts } from './key-reasons.ts';

/**
 * Whether unwrapped DEKs may be used now, per (set, key version): what every piece of I/O asks.
 *
 * It is told of losses by facts of the set and by refusals of the vault, and of grants by the vault's yes. Losses are
 * numbered by the access epoch of the vault: a loss e concerns whoever unwrapped at an epoch below e, and nobody else,
 * however late it is heard. Where a refusal has no epoch, the order of asking and hearing on this host decides.
 *
 * One entry a set and version: losing a key costs the same for one disk and for a fleet.
 */
export interface KeyAccess {
  /** Begins a question to the vault: an answer counts only against what was heard before this. */
  ask(): number;
  /** The vault said yes. Ends a loss that is no newer. */
  granted(key: SetKeyVersion, grant: KeyGrant): void;
  /** Somebody with authority said no. Listeners hear it before this returns. */
  lost(key: SetKeyVersion, loss: LossFacts, source: 'fact' | 'refusal'): void;
  /** The set says that access is back. */
  restored(key: SetKeyVersion, accessEpoch: number): void;
  /** The set is gone: what was lost to it is not lost to a later one of that name (CMK-39). */
  forget(set: string): void;
  /** The loss in force, or undefined: as far as known the key can be used. */
  lossOf(key: SetKeyVersion): LossFacts | undefined;
  /** The loss in force that concerns a DEK unwrapped with this grant; undefined: the DEK may be used. */
  lossConcerning(key: SetKeyVersion, grant: KeyGrant): LossFacts | undefined;
  /** Calls `listener` at each loss with what tells whether a grant is concerned. */
  onLoss(listener: (key: SetKeyVersion, concerns: (grant: KeyGrant) => boolean) => void): void;
}

/** A key version as one set uses it: full names. */
export interface SetKeyVersion {
  readonly set: string;
  readonly keyVersion: string;
}

/** A yes of the vault, under which a DEK was unwrapped. */
export interface KeyGrant {
  readonly accessEpoch: number;
  /** What `ask` gave before the question was sent. */
  readonly asked: number;
}

interface Known extends LossFacts {
  readonly source: 'fact' | 'refusal';
  readonly heard: number;
}

/** Nothing is known yet. Rules CMK-100, CMK-105, CMK-112. */
export const createKeyAccess = (): KeyAccess => {
  const losses = new Map<string, Known>();
  /** Highest epoch of a grant, per key: a loss below it is over already. */
  const grants = new Map<string, number>();
  const listeners: Parameters<KeyAccess['onLoss']>[0][] = [];
  let order = 0;

  const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;
  const concerns = (loss: Known, grant: KeyGrant): boolean =>
    loss.accessEpoch === undefined ? grant.asked < loss.heard : grant.accessEpoch < loss.accessEpoch;

  return {
    ask: () => {
      order += 1;
      return order;
    },
    granted(key, grant) {
      const name = nameOf(key);
      grants.set(name, Math.max(grants.get(name) ?? 0, grant.accessEpoch));
      const loss = losses.get(name);
      if (loss && grant.asked > loss.heard && !concerns(loss, grant)) losses.delete(name);
    },
    lost(key, facts, source) {
      const name = nameOf(key);
      order += 1;
      const loss: Known = { ...facts, source, heard: order };
      const known = losses.get(name);
      const isNewer = known === undefined || (known.accessEpoch ?? 0) <= (facts.accessEpoch ?? Number.MAX_SAFE_INTEGER);
      const isOver = facts.accessEpoch !== undefined && facts.accessEpoch <= (grants.get(name) ?? 0);
      if (isNewer && !isOver) losses.set(name, loss);
      for (const listener of listeners) listener(key, (grant) => concerns(loss, grant));
    },
    restored(key, accessEpoch) {
      const loss = losses.get(nameOf(key));
      // Facts of a set come in order, so this one answers the loss told before it; a refusal may be newer than both.
      const isAnswered = loss?.source === 'fact' || (loss?.accessEpoch ?? 0) <= accessEpoch;
      if (loss && isAnswered) losses.delete(nameOf(key));
    },
    forget(set) {
      const prefix = nameOf({ set, keyVersion: '' });
      for (const known of [losses, grants]) {
        for (const name of known.keys()) if (name.startsWith(prefix)) known.delete(name);
      }
    },
    lossOf: (key) => losses.get(nameOf(key)),
    lossConcerning(key, grant) {
      const loss = losses.get(nameOf(key));
      return loss && concerns(loss, grant) ? loss : undefined;
    },
    onLoss: (listener) => {
      listeners.push(listener);
    },
  };
};
