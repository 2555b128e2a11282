import { shortName } from '@interlock/lab/short-name';
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { HostRow, PageMachine } from '../src/page/rows.ts';
import type { SetRow } from '../src/watch/reading.ts';
import { type Cloud, countText, isHit, shortKey } from './cloud.ts';
import { Chip, type Kind, Some, When } from './parts.tsx';

/** Opens the reason of a machine. @param name full name */
export type OpenWhy = (name: string) => void;

/** A key with the sets that use it, and their machines. */
interface KeyGroup {
  readonly key: string;
  readonly sets: readonly SetRow[];
}

/** Keys, sets, disks, machines and disk hosts, as counts that open. */
export function Now({ cloud, openWhy }: { readonly cloud: Cloud; readonly openWhy: OpenWhy }) {
  const keys = [...Map.groupBy(cloud.sets, ({ key }) => shortKey(key))].map(([key, sets]): KeyGroup => ({ key, sets }));
  const ordered = keys.toSorted((a, b) => Number(isLost(b)) - Number(isLost(a)) || a.key.localeCompare(b.key));
  const bySet = machinesBySet(cloud.machines);
  const ofPlatform = cloud.machines.filter(({ disks }) => disks.every(({ set }) => set === ''));
  return (
    <section id="now" aria-labelledby="now-title">
      <h2 id="now-title">Now</h2>
      <p>Each key opens its sets, and each set its machines. What is lost comes first.</p>
      <div class="tree">
        <Some rows={ordered} what="keys">
          {(shown) =>
            shown.map((group) => <Key key={group.key} group={group} bySet={bySet} cloud={cloud} openWhy={openWhy} />)
          }
        </Some>
        {ofPlatform.length > 0 && (
          <Opens
            summary={
              <>
                <b>Platform key</b> <span class="counts-text">{countText(ofPlatform)}</span>
              </>
            }
          >
            {() => <Machines machines={ofPlatform} nowMs={cloud.nowMs} openWhy={openWhy} />}
          </Opens>
        )}
      </div>
      {cloud.sets.length === 0 && ofPlatform.length === 0 && <p>There are no sets and no machines.</p>}
      <Hosts hosts={cloud.hosts} />
    </section>
  );
}

const isLost = ({ sets }: KeyGroup): boolean => sets.some(({ access }) => access === 'LOST');

function machinesBySet(machines: readonly PageMachine[]): ReadonlyMap<string, readonly PageMachine[]> {
  const bySet = new Map<string, PageMachine[]>();
  for (const machine of machines)
    for (const set of new Set(machine.disks.map((disk) => disk.set))) {
      const known = bySet.get(set);
      if (known === undefined) bySet.set(set, [machine]);
      else known.push(machine);
    }
  return bySet;
}

/** Content that is drawn only while it is open. */
function Opens({
  summary,
  children,
}: {
  readonly summary: ComponentChildren;
  readonly children: () => ComponentChildren;
}) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details open={isOpen} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{summary}</summary>
      {isOpen && <div class="inside">{children()}</div>}
    </details>
  );
}

interface Parts {
  readonly bySet: ReadonlyMap<string, readonly PageMachine[]>;
  readonly cloud: Cloud;
  readonly openWhy: OpenWhy;
}

function Key({ group: { key, sets }, ...parts }: Parts & { readonly group: KeyGroup }) {
  const machines = [...new Set(sets.flatMap(({ name }) => parts.bySet.get(name) ?? []))];
  const lost = sets.find(({ access }) => access === 'LOST');
  const disks = sets.reduce((sum, { name }) => sum + diskCount(machines, name), 0);
  return (
    <Opens
      summary={
        <>
          <b>{key}</b> <Access set={lost ?? sets[0]} nowMs={parts.cloud.nowMs} />{' '}
          <span class="counts-text">
            {count(sets.length, 'set')}, {count(disks, 'disk')}, {countText(machines)}
          </span>
        </>
      }
    >
      {() => sets.map((set) => <DiskSet key={set.name} set={set} {...parts} />)}
    </Opens>
  );
}

function DiskSet({ set, bySet, cloud, openWhy }: Parts & { readonly set: SetRow }) {
  const machines = bySet.get(set.name) ?? [];
  const leases = cloud.leases.filter((lease) => lease.set === set.name);
  return (
    <Opens
      summary={
        <>
          <b>{shortName(set.name)}</b> <Access set={set} nowMs={cloud.nowMs} />{' '}
          <span class="counts-text">
            {count(diskCount(machines, set.name), 'disk')}, {countText(machines)}
          </span>
        </>
      }
    >
      {() => (
        <>
          {leases.map(({ host, state, reason, openCount }) => (
            <p class="note" key={host}>
              Lease of the disk host at {host}: {state}
              {reason !== '' && `, ${reason}`}, {count(openCount, 'open disk')}
            </p>
          ))}
          <Machines machines={machines} nowMs={cloud.nowMs} openWhy={openWhy} />
        </>
      )}
    </Opens>
  );
}

/** Whether a set can use its key, and if not, since when and why. */
function Access({ set, nowMs }: { readonly set: SetRow | undefined; readonly nowMs: number }) {
  if (set === undefined) return null;
  const kind: Kind = set.access === 'LOST' ? 'fail' : set.access === 'AVAILABLE' ? 'pass' : 'open';
  return (
    <>
      <Chip kind={kind}>{set.access === '' ? 'NOT KNOWN' : set.access}</Chip>
      {set.access === 'LOST' && (
        <span class="why-text">
          {' '}
          {set.reason} since <When iso={set.since} nowMs={nowMs} />
        </span>
      )}
    </>
  );
}

/** Machines in rows; those that need attention come first. */
export function Machines({
  machines,
  nowMs,
  openWhy,
}: {
  readonly machines: readonly PageMachine[];
  readonly nowMs: number;
  readonly openWhy: OpenWhy;
}) {
  const ordered = machines.toSorted((a, b) => Number(isHit(b)) - Number(isHit(a)) || (a.name < b.name ? -1 : 1));
  return (
    <Some rows={ordered} what="machines">
      {(shown) => (
        <ul class="machines">
          {shown.map((machine) => (
            <li key={machine.name}>
              <button type="button" class="name" onClick={() => openWhy(machine.name)}>
                {shortName(machine.name)}
              </button>{' '}
              <Power machine={machine} /> <When iso={machine.since} nowMs={nowMs} />{' '}
              <span class="counts-text">{count(machine.disks.length, 'disk')}</span>
              {machine.mismatches > 0 && <Chip kind="fail">{count(machine.mismatches, 'mismatch')}</Chip>}
            </li>
          ))}
        </ul>
      )}
    </Some>
  );
}

/** The power state of a machine, with its reason. */
export function Power({ machine: { power, reason } }: { readonly machine: PageMachine }) {
  const kind: Kind = power === 'RUNNING' ? (reason === '' ? 'pass' : 'open') : reason === '' ? 'plain' : 'fail';
  return (
    <Chip kind={kind}>
      {power}
      {reason !== '' && `: ${reason}`}
    </Chip>
  );
}

function Hosts({ hosts }: { readonly hosts: readonly HostRow[] }) {
  if (hosts.length === 0) return null;
  return (
    <>
      <h3>Disk hosts</h3>
      <Some rows={hosts} what="disk hosts">
        {(shown) => (
          <ul class="machines">
            {shown.map(({ name, state, diskCount: disks }) => (
              <li key={name}>
                <b>{shortName(name)}</b>{' '}
                <Chip kind={state === 'HOST_SERVING' ? 'pass' : 'fail'}>
                  {state.replace('HOST_', '') || 'NOT KNOWN'}
                </Chip>{' '}
                <span class="counts-text">{count(disks, 'disk')}</span>
              </li>
            ))}
          </ul>
        )}
      </Some>
    </>
  );
}

const diskCount = (machines: readonly PageMachine[], set: string): number =>
  machines.reduce((sum, { disks }) => sum + disks.filter((disk) => disk.set === set).length, 0);

/** `1 disk`, `2 disks` */
const count = (number: number, noun: string): string =>
  `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : noun.endsWith('ch') ? 'es' : 's'}`;
