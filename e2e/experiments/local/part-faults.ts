import {
  type Effect,
  type FaultAction,
  isFaultAction,
  isHostTarget,
  isUndoable,
  type Problem,
  type SightingRecord,
  type Step,
} from '@interlock/lab';
import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { Disturbance } from '@interlock/lab/judge/recording/replay';
import type { clockShift } from '@interlock/local/clocks/clock-shift.ts';
import { type CloudControl, type ControlledPart, cloudParts } from '@interlock/local/control/cloud-control.ts';
import {
  isDiskHostName,
  isHostName,
  isVmHostName,
  type ProcessTarget,
  type ServiceName,
  serviceNames,
  serviceOfTarget,
} from '@interlock/local/services.ts';
import { type Clock, systemClock } from '@interlock/runtime';
import type { Faults } from '../cloud/cloud-access.ts';
import type { ClockShift } from '../cloud/shifted-times.ts';
import { type Callable, failingCall } from './failing-calls.ts';
import { type LimitedStorage, mountRefusal } from './storage.ts';
import { throttle } from './throttle.ts';

/** Connections between parts that can be slowed and cut. */
export interface Connections {
  slow(part: ControlledPart, delayMs: number): void;
  cut(parts: readonly ControlledPart[]): void | Promise<void>;
  heal(parts: readonly ControlledPart[]): void | Promise<void>;
  /** Whether bytes are waiting between two parts. */
  hasStalled(parts: readonly ControlledPart[]): boolean;
}

/** The means to inject faults. Those that are absent were not requested, or are refused. */
export interface FaultTools {
  readonly control: CloudControl;
  readonly callable: Callable;
  readonly links?: Connections | undefined;
  readonly clocks?: ReturnType<typeof clockShift> | undefined;
  /** The file system on which a part keeps its files. */
  readonly storageOf?: ((part: ControlledPart) => LimitedStorage | undefined) | undefined;
  /** Whether disk hosts are processes of their own. Default false. */
  readonly hasDiskHosts?: boolean;
}

/** Plain JSON, for `Undo.data`. */
interface FaultData {
  readonly step: string;
  readonly parts: readonly ControlledPart[];
}

type OpenDisturbance = { -readonly [Field in keyof Disturbance]: Disturbance[Field] };

/** How long to look for a call that fails because of a fault, and the pause between two calls, in milliseconds. */
const lookWithinMs = 10_000;
const lookEveryMs = 200;

/** The part as the oracle names it. */
const disturbedOf = (part: ControlledPart, hasDiskHosts: boolean): Disturbed => {
  if (isDiskHostName(part)) return `diskHosts/${part.replace('disk-host-', 'disk-')}`;
  if (isVmHostName(part)) return 'compute';
  if (part === 'disk' && hasDiskHosts) return 'disk-control';
  return part === 'nats' ? 'bus' : part === 'postgres' ? 'store' : part;
};

const isService = (part: string | undefined): part is ServiceName => serviceNames.some((name) => name === part);

/** Faults that any local cloud can inject, and those that need a cloud that the experiment starts itself. */
const onAnyCloud = ['kill', 'restart', 'pause'] as const satisfies readonly FaultAction[];
export const onOwnCloud = [
  ...onAnyCloud,
  ...(['slow', 'cut', 'shift-clock', 'fill-storage'] as const satisfies readonly FaultAction[]),
] as const;

/** A fault that a local cloud can inject. */
type LocalFault = (typeof onOwnCloud)[number] | 'throttle';

const isLocalFault = (action: string): action is LocalFault =>
  action === 'throttle' || onOwnCloud.some((one) => one === action);

/** Faults of a timeline that a local cloud cannot inject. @param isOwn whether the experiment starts the cloud itself */
export const refusedFaults = (timeline: readonly Step[], isOwn: boolean): readonly Problem[] =>
  timeline.flatMap(({ action, targets, line, name }): readonly Problem[] => {
    const [part] = targets;
    const refuse = (message: string, cure: string): readonly Problem[] => [{ line, message, cure }];
    if (action !== 'throttle' && !isFaultAction(action)) return [];
    if (!isLocalFault(action)) return refuse(`${name}: a local cloud cannot do ${action}`, 'Use --target simulated.');
    if (!isOwn && !onAnyCloud.some((one) => one === action))
      return refuse(`${name}: ${action} needs a cloud that the experiment starts itself`, 'Use --target local.');
    const unmountable = action === 'fill-storage' ? mountRefusal() : undefined;
    if (unmountable !== undefined)
      return refuse(
        `${name}: no folder of limited size can be mounted: ${unmountable}`,
        'Run it as root, or use --target simulated.',
      );
    if (action === 'shift-clock' && !isService(part) && !isHostTarget(part ?? ''))
      return refuse(`${name}: the clock of ${part} cannot be shifted`, `Name one of ${serviceNames.join(', ')}.`);
    if (action === 'cut' && !targets.some((target) => isService(target) || isHostTarget(target)))
      return refuse(`${name}: nothing connects ${targets.join(' and ')}`, 'Name a service and another part.');
    return [];
  });

/** Faults of the processes, connections, clocks and storage of a local cloud. */
export class PartFaults implements Faults {
  readonly #tools: FaultTools;
  readonly #clock: Clock = systemClock;
  readonly #disturbances: OpenDisturbance[] = [];
  readonly #open = new Map<string, OpenDisturbance>();
  readonly #sightings: SightingRecord[] = [];
  readonly #floods = new Map<string, AbortController>();
  readonly #ending = new AbortController();
  readonly #shifts: ClockShift[] = [];

  constructor(tools: FaultTools) {
    this.#tools = tools;
  }

  async plan({ name, action, targets }: Step): Promise<Readonly<Record<string, unknown>>> {
    if (action === 'throttle') return { step: name, parts: ['key-vault'] };
    const parts = targets.filter(isControlled);
    const processes = parts.some(isHostName) ? await this.#tools.control.processes() : [];
    const missing = parts.find((part) => isHostName(part) && !processes.some((one) => one.part === part));
    if (missing !== undefined) throw new Error(`${name}: the cloud has no ${missing}`);
    return { step: name, parts };
  }

  async carryOut({ name, action, options, targets }: Step, data: Readonly<Record<string, unknown>>): Promise<Effect> {
    if (!isLocalFault(action)) throw new Error(`${name}: a local cloud cannot ${action}`);
    const { step, parts } = data as unknown as FaultData;
    const disturbance: OpenDisturbance = {
      parts: disturbedBy(action, parts, this.#tools.hasDiskHosts),
      fromMs: this.#clock.now(),
    };
    this.#disturbances.push(disturbance);
    this.#open.set(step, disturbance);
    const keyVersion = String(data.keyVersion);
    const effectMs = await this.#inject(action, { ...{ step, parts, keyVersion }, options });
    if (!isUndoable(action)) this.#end(step, action === 'restart' ? parts : []);
    else void this.#lookForFailingCalls(action, parts, disturbance);
    const hosts = parts.filter((part) => isHostName(part) && !targets.includes(part));
    return { effectMs: effectMs ?? this.#clock.now(), ...(hosts.length === 0 ? {} : { hosts }) };
  }

  /** @returns when it took effect, if that is not its end */
  async #inject(
    action: LocalFault,
    how: FaultData & Pick<Step, 'options'> & { readonly keyVersion: string },
  ): Promise<number | undefined> {
    const { control, links, storageOf, callable } = this.#tools;
    const { step, parts, options, keyVersion } = how;
    const byMs = Number(options.by ?? 0);
    const [part = 'nats'] = parts;
    switch (action) {
      case 'kill':
        await control.kill(part);
        return this.#see('process-gone', part, 'killed');
      case 'restart':
        await control.restart(part);
        return this.#see('process-gone', part, 'restarted');
      case 'pause':
        await control.pause(part);
        return undefined;
      case 'slow':
        needed(links, action).slow(part, byMs);
        return undefined;
      case 'cut':
        await needed(links, action).cut(parts);
        return undefined;
      case 'shift-clock':
        return this.#shiftClock(step, clockOf(part), { byMs, isBoot: options.clock === 'boot' });
      case 'fill-storage':
        await needed(storageOf?.(part), action).fill();
        return undefined;
      case 'throttle': {
        const flood = new AbortController();
        this.#floods.set(step, flood);
        return throttle(callable.clients, keyVersion, { clock: this.#clock, signal: flood.signal });
      }
      default:
        return action satisfies never;
    }
  }

  async #shiftClock(
    step: string,
    owner: ProcessTarget,
    { byMs, isBoot }: { readonly byMs: number; readonly isBoot: boolean },
  ): Promise<undefined> {
    // Events have times of the wall clock.
    const service = serviceOfTarget(owner);
    if (!isBoot) this.#shifts.push({ step, service, byMs, fromMs: this.#clock.now() });
    await needed(this.#tools.clocks, 'shift-clock').set(
      owner,
      isBoot ? { wallMs: 0, bootMs: byMs } : { wallMs: byMs, bootMs: 0 },
    );
  }

  async undo(action: string, data: Readonly<Record<string, unknown>>): Promise<Effect> {
    const { step, parts } = data as unknown as FaultData;
    const { control, links, clocks, storageOf } = this.#tools;
    const [part = 'nats'] = parts;
    if (!isLocalFault(action)) throw new Error(`${step}: a local cloud cannot undo ${action}`);
    switch (action) {
      case 'kill':
        if (await this.#isInState(part, 'down')) await control.restart(part);
        break;
      case 'pause':
        if (await this.#isInState(part, 'paused')) await control.resume(part);
        break;
      case 'slow':
        links?.slow(part, 0);
        break;
      case 'cut':
        await links?.heal(parts);
        break;
      case 'shift-clock':
        await clocks?.set(clockOf(part), { wallMs: 0, bootMs: 0 });
        break;
      case 'fill-storage':
        storageOf?.(part)?.free();
        break;
      case 'throttle':
        this.#floods.get(step)?.abort();
        break;
      case 'restart':
        break;
      default:
        action satisfies never;
    }
    this.#end(step, action === 'kill' ? parts : []);
    return { effectMs: this.#clock.now() };
  }

  async #isInState(part: ControlledPart, state: 'down' | 'paused'): Promise<boolean> {
    return (await this.#tools.control.processes()).some((one) => one.part === part && one.state === state);
  }

  /** @param restarted parts whose memory is lost */
  #end(step: string, restarted: readonly ControlledPart[]): void {
    const disturbance = this.#open.get(step);
    this.#open.delete(step);
    for (const shift of this.#shifts) if (shift.step === step) shift.toMs ??= this.#clock.now();
    if (disturbance === undefined) return;
    disturbance.toMs = this.#clock.now();
    const [part] = restarted;
    if (isService(part) || isHostTarget(part ?? ''))
      disturbance.restarted = disturbedOf(part as ProcessTarget, this.#tools.hasDiskHosts === true);
  }

  /** Calls the part until a call fails, so that the record shows that the fault took effect. */
  async #lookForFailingCalls(
    action: string,
    parts: readonly ControlledPart[],
    disturbance: OpenDisturbance,
  ): Promise<void> {
    const { callable, links } = this.#tools;
    const [part = 'nats'] = parts;
    if (action !== 'kill' && action !== 'pause' && action !== 'cut') return;
    const endMs = this.#clock.monotonicMs() + lookWithinMs;
    while (this.#clock.monotonicMs() < endMs && disturbance.toMs === undefined && !this.#ending.signal.aborted) {
      const seen =
        action === 'cut'
          ? links?.hasStalled(parts) && `bytes between ${parts.join(' and ')} do not arrive`
          : await failingCall(part, callable);
      if (seen) {
        for (const one of action === 'cut' ? parts : [part]) this.#see('calls-fail', one, seen);
        return;
      }
      await this.#clock.sleep(lookEveryMs, this.#ending.signal);
    }
  }

  /** @returns when it was seen */
  #see(see: SightingRecord['see'], subject: ControlledPart, seen: string): number {
    const atMs = this.#clock.now();
    this.#sightings.push({ see, subject, atMs, seen: `${subject}: ${seen}` });
    return atMs;
  }

  shifts(): readonly ClockShift[] {
    return this.#shifts;
  }

  disturbances(): readonly Disturbance[] {
    return this.#disturbances;
  }

  sightings(): readonly SightingRecord[] {
    return this.#sightings;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    for (const flood of this.#floods.values()) flood.abort();
  }
}

const isControlled = (target: string): target is ControlledPart =>
  isHostName(target) || cloudParts.some((part) => part === target);

const disturbedBy = (action: string, parts: readonly ControlledPart[], hasDiskHosts = false): readonly Disturbed[] => {
  const own = parts.map((part) => disturbedOf(part, hasDiskHosts));
  const hosts = parts.filter(isDiskHostName).map((part) => disturbedOf(part, hasDiskHosts));
  // If only one disk host does not reach something, only that host is excused.
  if (action === 'cut' && hosts.length > 0) return hosts;
  if (action === 'cut' || action === 'slow') return [...own, 'calls'];
  if (action !== 'fill-storage') return own;
  // All parts but the volumes share a file system, and the logs are in it too.
  return parts.includes('disk') || hosts.length > 0
    ? [...own, 'volumes']
    : [...serviceNames, 'bus', 'store', 'volumes'];
};

const clockOf = (part: ControlledPart): ProcessTarget => {
  if (isService(part) || isHostName(part)) return part;
  throw new Error(`${part} is no service`);
};

const needed = <Tool>(tool: Tool | undefined, action: string): Tool => {
  if (tool === undefined) throw new Error(`this cloud was not started for ${action}`);
  return tool;
};
