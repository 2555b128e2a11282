export { type People, type SimulatedSettings, type Somebody, simulatedSettings } from './deployment.ts';
export type { FaultControl } from './fault-control.ts';
export type { CallFaults, FaultRates, StoreFaults, VolumeFaults } from './fault-rates.ts';
export { type Part, parts } from './parts.ts';
export {
  type Committed,
  createSimulatedCloud,
  type SimulatedCloud,
  type SimulatedCloudOptions,
} from './simulated-cloud.ts';
