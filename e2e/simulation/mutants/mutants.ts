import type { Mutant } from './mutant.ts';

/**
 * Twenty-seven bugs that an engineer could make, each in one place. The simulation must find every one of them by the guarantee
 * that it breaks: a verdict that never fails proves nothing.
 */
export const mutants: readonly Mutant[] = [
  {
    name: 'the lease is not looked at before a piece of I/O',
    guarantee: 'G1',
    file: 'services/disk/src/host/data/session.ts',
    find: 'this.hasDek && (lease === undefined || isPinnable || lease.isHeld() || this.#bridge?.isHeld() === true);',
    replace: 'this.hasDek;',
  },
  {
    name: 'a lease is extended while the vault does not answer',
    guarantee: 'G1',
    file: 'services/disk/src/host/keys/leases.ts',
    find: 'entry.failures += 1;',
    replace:
      "entry.failures += 1;\n      const last = entry.lease.grant();\n      if (last) this.#parts.keyAccess.granted(key, { ...last, sent: this.#parts.keyAccess.nextCall() }, 'unwrapped');",
    seenIn: 'kubernetes#138950: a grace that is extended for ever',
  },
  {
    name: 'a disabled version can be used all the same',
    guarantee: 'G4',
    file: 'services/key-vault/src/key/key.ts',
    find: 'enabled: false, disabledAt: event.at',
    replace: 'disabledAt: event.at',
  },
  {
    name: 'machines that are starting are forgotten when a key is lost',
    guarantee: 'G2',
    file: 'services/compute/src/vm/key-loss.ts',
    find: 'isOnOrStarting(machine) && machine.power.work',
    replace: "machine.power.state === 'running' && machine.power.work",
  },
  {
    name: 'events are published before they are committed',
    guarantee: 'G7',
    file: 'libs/event-store/src/memory-store.ts',
    find: '      events.assertVersions(commit);\n      assertCursors(cursors, commit);',
    replace: `      try {
        events.assertVersions(commit);
        assertCursors(cursors, commit);
      } catch (error) {
        for (const { stream, expected, events: refused } of commit.appends ?? []) {
          for (const event of refused) {
            const place = { position: events.head() + 1, stream, version: expected + 1 };
            const { clock, random } = options;
            events.feed.push(stored({ ...event, ...place, id: random.uuid(), cause, time: clock.now() }));
          }
        }
        throw error;
      }`,
  },
  {
    name: 'the feed is ordered by a sequence alone, so what commits late is skipped',
    guarantee: 'G7',
    file: 'libs/event-store/src/memory-store.ts',
    find: 'feed: async (after, limit) => events.feedAfter(after, limit),',
    // Not while the estate is created, which has no image yet: without an estate there is no history that could find it.
    replace:
      'feed: async (after, limit) => events.feedAfter(after, limit).filter(({ position }) => options.image === undefined || position !== events.head() - 1 || options.random.fraction() > 0.05),',
    seenIn: 'event tables read by a serial column while transactions overlap',
  },
  {
    name: 'a fact counts as applied before its effect is stored',
    guarantee: 'G7',
    file: 'libs/messaging/src/fact-applier.ts',
    find: 'await store.commit({ ...effect, cursors: [move] }, causeOf(fact, service));',
    replace: `await store.commit({ cursors: [move] }, causeOf(fact, service));
    await store.commit(effect, causeOf(fact, service));`,
  },
  {
    name: 'a fact that comes again takes effect again',
    guarantee: 'G7',
    file: 'libs/messaging/src/fact-applier.ts',
    find: '        if (fact.position <= this.#reached) return;\n',
    replace: '',
  },
  {
    name: 'a rate limit is taken for a refusal',
    guarantee: 'G3',
    file: 'libs/access/src/refusals.ts',
    find: "error instanceof Rejection && !error.retryable() && error.code !== 'UNAUTHENTICATED'\n    ? (lossReasonOf(error.reason)",
    replace:
      "error instanceof Rejection && error.code !== 'UNAUTHENTICATED'\n    ? error.reason === 'THROTTLED'\n      ? 'ACCESS_DENIED'\n      : (lossReasonOf(error.reason)",
  },
  {
    name: 'machines are stopped for their ultra disks',
    guarantee: 'G3',
    file: 'services/compute/src/vm/disk-state.ts',
    find: "set !== '' && !outlivesKeyLoss(sku);",
    replace: "set !== '' && sku.length > 0;",
  },
  {
    name: 'the DEK stays in memory when the lease is over',
    guarantee: 'G8',
    file: 'services/disk/src/host/data/session.ts',
    find: '    this.#bridge = undefined;\n    this.disk.dropKey();',
    replace: '    this.#bridge = undefined;',
  },
  {
    name: 'the record of an unwrap holds what was unwrapped',
    guarantee: 'G8',
    file: 'services/key-vault/src/cryptography/use.ts',
    find: '    return { keyVersion, accessEpoch: epoch, value };',
    replace:
      "    if (operation === 'unwrapKey') entry.changing(Buffer.from(value).toString('base64'));\n    return { keyVersion, accessEpoch: epoch, value };",
  },
  {
    name: 'a rewrap wraps with the old version',
    guarantee: 'G6',
    file: 'services/key-vault/src/cryptography/rewrap.ts',
    find: 'material.rsaKey(from, owner), material.rsaKey(into, owner), {',
    replace: 'material.rsaKey(from, owner), material.rsaKey(from, owner), {',
  },
  {
    name: 'the previous keys of an unfinished rotation are lost with the next one',
    guarantee: 'G6',
    file: 'services/disk-encryption-set/src/set/state.ts',
    find: 'const previousKeys = [...set.previousKeys, set.activeKey].filter(',
    replace: 'const previousKeys = [set.activeKey].filter(',
  },
  {
    name: 'the preview leaves out machines with disks of other keys',
    guarantee: 'G2',
    file: 'services/compute/src/vm/impact.ts',
    find: 'outcome: stop(onceOpen(vm)).length > 0 ?',
    replace: 'outcome: stop(onceOpen(vm)).length > 0 && vm.disks.every(({ set }) => set === supposed.set) ?',
  },
  {
    name: 'an unwrapped secret is cached, and the vault is not asked again',
    guarantee: 'G4',
    file: 'services/disk/src/host/keys/deks.ts',
    find: '      const { payload, grant } = await unwrapped(await questionFor(holder, header, cause), wrap.wrapped, held);\n      return { dek: verified(openDekPayload(payload, owner), owner, holder), grant };',
    replace: `      const secrets: Map<string, OpenDek> = ((vault as { secrets?: Map<string, OpenDek> }).secrets ??= new Map());
      const known = secrets.get(header.dekId);
      if (known) return { dek: Uint8Array.from(known.dek), grant: known.grant };
      const { payload, grant } = await unwrapped(await questionFor(holder, header, cause), wrap.wrapped, held);
      const dek = verified(openDekPayload(payload, owner), owner, holder);
      secrets.set(header.dekId, { dek: Uint8Array.from(dek), grant });
      return { dek, grant };`,
    seenIn: 'OpenStack Nova: a cached volume secret that skips the key manager',
  },
  {
    name: 'a header is not synced before it counts',
    guarantee: 'G6',
    file: 'services/disk/src/host/header/disk-header.ts',
    find: 'await open.store.writeDurably(offset, bytes)',
    replace: '(await open.store.write(offset, bytes), true)',
  },
  {
    name: 'a flush flushes nothing',
    guarantee: 'G5',
    file: 'services/disk/src/host/cipher/encrypted-disk.ts',
    find: '    return this.#volume.store.flush();',
    replace: '    return Promise.resolve();',
  },
  {
    name: 'a rotation that has to wait is called finished',
    guarantee: 'G6',
    file: 'services/disk-encryption-set/src/rotation/rotation.ts',
    find: "      await sets.transact(set, waitForKey(clock.now(), generation, obstacle), cause, { step: 'rotation' });\n      return;",
    replace: '      break;',
  },
  {
    name: 'snapshots are forgotten in a rotation',
    guarantee: 'G6',
    file: 'services/disk/src/moves/key-change-api.ts',
    find: 'listKept(snapshots, query, ({ state }) => isListed(state, set, left)),',
    replace: 'listKept(snapshots, query, ({ state }) => left === undefined && isListed(state, set, left)),',
  },
  {
    name: 'refusals are not put on record',
    guarantee: 'G9',
    file: 'services/key-vault/src/audit/log.ts',
    find: '    if (subjects.length === 0) return nothing;',
    replace: "    if (subjects.length === 0 || 'error' in ended) return nothing;",
  },
  {
    name: 'a copy is recorded on the word of its beginning',
    guarantee: 'G1',
    file: 'services/disk/src/host/volume/followed-key.ts',
    find: '      await this.failIfLost();\n      checked = this.#header;',
    replace: '      return;',
  },
  {
    name: 'a write that storage has no room for is acknowledged',
    guarantee: 'G5',
    file: 'services/disk/src/host/cipher/encrypted-disk.ts',
    find: '      if (!isDropped || dropped === droppedMax) throw error;',
    replace: `      if (error instanceof Rejection && error.reason === 'STORAGE_FULL') return undefined as Result;
      if (!isDropped || dropped === droppedMax) throw error;`,
  },
  {
    name: 'a flush that failed is made good by the next one',
    guarantee: 'G5',
    file: 'services/disk/src/host/storage/flushes.ts',
    find: '      if (!isClosed) this.#failure = { cause };\n',
    replace: '',
    seenIn: 'PostgreSQL until 2018: an fsync that failed was asked for again, and succeeded',
  },
  {
    name: 'a header behind the store is believed',
    guarantee: 'G6',
    file: 'services/disk/src/host/header/header-comparison.ts',
    find: "if (found.sequence < volume.headerSequence) return 'behind';",
    replace: "if (found.sequence < volume.headerSequence) return 'equal';",
  },
  {
    name: 'the DEK is not held against the store',
    guarantee: 'G1',
    file: 'services/disk/src/host/keys/deks.ts',
    find: 'if (matchesDekAuthenticator(dek, owner, holder.volume.dekAuthenticator)) return dek;',
    replace: 'if (matchesDekAuthenticator(dek, owner, holder.volume.dekAuthenticator) || dek.length > 0) return dek;',
  },
  {
    name: 'closing disks does not name the stop it follows',
    guarantee: 'G10',
    file: 'services/compute/src/processes/closing.ts',
    find: "[...stepCauses(streamOf(vm), state, 'off'), ...answers(closed.get(vm))]",
    replace: "[...stepCauses(streamOf(vm), state, 'off'), ...answers(closed.get(vm))].slice(1)",
  },
];
