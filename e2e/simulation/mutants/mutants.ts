import type { Mutant } from './mutant.ts';
import { vmHostMutants } from './vm-host-mutants.ts';

/**
 * Forty-four bugs that an engineer could make, each in one place. The simulation must find every one of them by the guarantee
 * that it breaks: a verdict that never fails proves nothing.
 */
export const mutants: readonly Mutant[] = [
  {
    name: 'the lease is not checked before an I/O',
    guarantee: 'G1',
    file: 'services/disk/src/host/data/session.ts',
    find: 'this.hasDek && (lease === undefined || isPinnable || lease.isHeld() || this.#previousTerm?.isHeld() === true)',
    replace: 'this.hasDek',
  },
  {
    name: 'a lease is extended while the vault is unreachable',
    guarantee: 'G1',
    file: 'services/disk/src/host/keys/leases.ts',
    find: 'entry.failures += 1;',
    replace:
      "entry.failures += 1;\n      const last = entry.lease.grant();\n      if (last) this.#parts.keyAccess.granted(key, { ...last, sent: this.#parts.keyAccess.nextCall() }, 'unwrapped');",
    seenIn: 'kubernetes#138950: a grace that is extended for ever',
  },
  {
    name: 'a disabled version can still be used',
    guarantee: 'G4',
    file: 'services/key-vault/src/key/key.ts',
    find: 'enabled: false, disabledAt: event.at',
    replace: 'disabledAt: event.at',
  },
  {
    name: 'a lost key does not stop machines that are starting',
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
            const version = expected + 1;
            const place = { position: events.head() + 1, stream, version, id: eventId(stream, version) };
            events.feed.push(stored({ ...event, ...place, cause: withoutTracker(cause), time: options.clock.now() }));
          }
        }
        throw error;
      }`,
  },
  {
    name: 'the feed is ordered by a sequence only, so late commits are skipped',
    guarantee: 'G7',
    file: 'libs/event-store/src/memory-store.ts',
    find: 'feed: async (after, limit) => events.feedAfter(after, limit),',
    // Not while the estate is created, which has no image yet: without an estate there is no history that could find it.
    replace:
      'feed: async (after, limit) => events.feedAfter(after, limit).filter(({ position }) => options.image === undefined || position !== events.head() - 1 || position % 20 !== 0),',
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
    name: 'a redelivered fact takes effect again',
    guarantee: 'G7',
    file: 'libs/messaging/src/fact-applier.ts',
    find: '        if (fact.position <= this.#reached) return;\n',
    replace: '',
  },
  {
    name: 'a throttled call is taken for an access loss',
    guarantee: 'G3',
    file: 'libs/access/src/refusals.ts',
    find: "error instanceof Rejection && !error.retryable() && error.code !== 'UNAUTHENTICATED'\n    ? (lossReasonOf(error.reason)",
    replace:
      "error instanceof Rejection && error.code !== 'UNAUTHENTICATED'\n    ? error.reason === 'THROTTLED'\n      ? 'ACCESS_DENIED'\n      : (lossReasonOf(error.reason)",
  },
  {
    name: 'machines stop because of their ultra disks',
    guarantee: 'G3',
    file: 'services/compute/src/vm/disk-state.ts',
    find: "set !== '' && !outlivesKeyLoss(sku);",
    replace: "set !== '' && sku.length > 0;",
  },
  {
    name: 'the DEK stays in memory after the lease has expired',
    guarantee: 'G8',
    file: 'services/disk/src/host/data/session.ts',
    find: '    this.#previousTerm = undefined;\n    this.disk.dropKey();',
    replace: '    this.#previousTerm = undefined;',
  },
  {
    name: 'the audit entry of an unwrap contains the unwrapped key',
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
    name: 'the next rotation loses the previous keys of an unfinished one',
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
    name: 'an unwrapped DEK is cached, and the vault is not called again',
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
    name: 'a header is used before it is synced',
    guarantee: 'G6',
    file: 'services/disk/src/host/header/disk-header.ts',
    find: 'await open.store.writeDurably(offset, bytes)',
    replace: '(await open.store.write(offset, bytes), true)',
  },
  {
    name: 'a flush flushes nothing',
    guarantee: 'G5',
    file: 'services/disk/src/host/pieces/encrypted-disk.ts',
    find: '    return this.#volume.store.flush();',
    replace: '    return Promise.resolve();',
  },
  {
    name: 'a waiting rotation is recorded as finished',
    guarantee: 'G6',
    file: 'services/disk-encryption-set/src/rotation/rotation.ts',
    find: "      await sets.transact(set, waitForKey(clock.now(), generation, wait), cause, { step: 'rotation' });\n      return;",
    replace: '      break;',
  },
  {
    name: 'a rotation leaves snapshots out',
    guarantee: 'G6',
    file: 'services/disk/src/moves/encrypted-resources-api.ts',
    find: 'listKept(snapshots, query, ({ state }) => isListed(state, set, left)),',
    replace: 'listKept(snapshots, query, ({ state }) => left === undefined && isListed(state, set, left)),',
  },
  {
    name: 'refusals are not in the audit log',
    guarantee: 'G9',
    file: 'services/key-vault/src/audit/log.ts',
    find: '    if (subjects.length === 0) return nothing;',
    replace: "    if (subjects.length === 0 || 'error' in ended) return nothing;",
  },
  {
    name: 'a copy is recorded without another check of its key',
    guarantee: 'G1',
    file: 'services/disk/src/host/volume/followed-key.ts',
    find: '      await this.failIfLost();\n      checked = this.#header;',
    replace: '      return;',
  },
  {
    name: 'a write without room in storage is acknowledged',
    guarantee: 'G5',
    file: 'services/disk/src/host/pieces/encrypted-disk.ts',
    find: '      if (!isDropped || dropped === droppedMax) throw error;',
    replace: `      if (error instanceof Rejection && error.reason === 'STORAGE_FULL') return undefined as Result;
      if (!isDropped || dropped === droppedMax) throw error;`,
  },
  {
    name: 'a flush succeeds after a failed flush',
    guarantee: 'G5',
    file: 'services/disk/src/host/storage/flushes.ts',
    find: '      if (!isClosed) this.#failure = { cause };\n',
    replace: '',
    seenIn: 'PostgreSQL until 2018: an fsync that failed was asked for again, and succeeded',
  },
  {
    name: 'a flush succeeds after the machine of the disk host was lost',
    guarantee: 'G5',
    file: 'services/disk/src/host/data/session.ts',
    find: "    return this.level === 'write' && hostEpoch < this.#parts.intactSince;",
    replace: '    return hostEpoch < 0;',
  },
  {
    name: 'a header behind the store is accepted',
    guarantee: 'G6',
    file: 'services/disk/src/host/header/header-comparison.ts',
    find: "if (found.sequence < volume.headerSequence) return 'behind';",
    replace: "if (found.sequence < volume.headerSequence) return 'equal';",
  },
  {
    name: 'the DEK is not compared with the store',
    guarantee: 'G1',
    file: 'services/disk/src/host/keys/deks.ts',
    find: 'if (matchesDekAuthenticator(dek, owner, holder.volume.dekAuthenticator)) return dek;',
    replace: 'if (matchesDekAuthenticator(dek, owner, holder.volume.dekAuthenticator) || dek.length > 0) return dek;',
  },
  {
    name: 'closing disks does not name the stop as its cause',
    guarantee: 'G10',
    file: 'services/compute/src/processes/closing.ts',
    find: "[...stepCauses(streamOf(vm), state, 'off'), ...answers(closed.get(vm))]",
    replace: "[...stepCauses(streamOf(vm), state, 'off'), ...answers(closed.get(vm))].slice(1)",
  },
  {
    name: 'every stop names a deleted key',
    guarantee: 'G10',
    file: 'services/compute/src/vm/key-loss.ts',
    find: 'isConcerned(disk, terms)).map(({ disk }): KeyLoss => ({ ...loss, disk }));',
    replace: "isConcerned(disk, terms)).map(({ disk }): KeyLoss => ({ ...loss, disk, reason: 'KEY_DELETED' }));",
  },
  {
    name: 'a lost key stops no machine that runs',
    guarantee: 'G2',
    file: 'services/compute/src/vm/key-loss.ts',
    find: 'const stopping = stopForKeyLoss(terms)(vm);',
    replace:
      "const stopping = vm.status === 'active' && vm.power.state === 'running' ? [] : stopForKeyLoss(terms)(vm);",
  },
  {
    name: 'a disk is placed on a host that an operator closed',
    guarantee: 'G5',
    file: 'services/disk/src/fleet/placement.ts',
    find: 'return await kind.transact(name, decideHere, cause, { guard, ',
    replace: 'return await kind.transact(name, decideHere, cause, { ',
  },
  {
    name: 'a sender keeps the access to a disk that has moved',
    guarantee: 'G1',
    file: 'services/disk/src/moves/volume-moves.ts',
    find: `    host.handOver(name, notHere(name, moving.host, hostName, fleet));
    return true;`,
    replace: '    return true;',
  },
  {
    name: 'a disk is handed over before the last pieces are sent',
    guarantee: 'G5',
    file: 'services/disk/src/moves/volume-moves.ts',
    find: 'await this.#sending.rest(sent, leftMs());',
    replace: '',
  },
  {
    name: 'a move leaves a piece out',
    guarantee: 'G5',
    file: 'services/disk/src/host/volume/stored-volume.ts',
    find: 'of writtenRuns(piece))',
    replace: 'of at === from ? [] : writtenRuns(piece))',
  },
  {
    name: 'a rotation lists what is on reachable hosts only',
    guarantee: 'G6',
    file: 'services/disk/src/routing/assemble-control.ts',
    find: '...encryptedResourcesApi({ ...records, setKeys }),',
    replace: `...encryptedResourcesApi({
        ...records,
        disks: {
          ...records.disks,
          list: async (query) => {
            const page = await records.disks.list(query);
            const isReachable = (host: string): boolean => fleet.conditionOf(host) === 'serving';
            return { ...page, items: page.items.filter(({ state }) => !('host' in state) || isReachable(state.host)) };
          },
        },
        setKeys,
      }),`,
  },
  {
    name: 'a recall after a gap skips the sets that have no loss any more',
    guarantee: 'G7',
    file: 'services/disk/src/host/keys/set-facts.ts',
    find: 'for (const set of new Set([...this.#losses.keys(), ...ofSets.keys()])) {',
    replace: 'for (const set of ofSets.keys()) {',
  },
  {
    name: 'a host works on the disk of another host',
    guarantee: 'G5',
    file: 'services/disk/src/fleet/own.ts',
    find: `      const decideOwn = (state: State) => {
        refuseOther(name, state);`,
    replace: '      const decideOwn = (state: State) => {',
  },
  {
    name: 'a batch is answered in the order of its hosts',
    guarantee: 'G5',
    file: 'services/disk/src/routing/batches.ts',
    find: 'return batch.items.map((_item, place) => settled.get(place) ?? missing());',
    replace: 'return [...settled.values()];',
  },
  {
    name: "the end of one disk host's outage ends those of all",
    guarantee: 'G3',
    file: 'services/compute/src/processes/sweep.ts',
    find: "const ofHost = host === '' ? {} : { host };",
    replace: 'const ofHost = {};',
  },
  ...vmHostMutants,
];
