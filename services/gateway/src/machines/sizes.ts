/** A size of machines that tools offer. Nothing here is limited to it. */
export interface MachineSize {
  readonly name: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly dataDisksMax: number;
}

const size = (name: string, cores: number, memoryGib: number, dataDisksMax: number): MachineSize => ({
  name,
  cores,
  memoryGib,
  dataDisksMax,
});

/** Sizes that tools list: common ones of the public cloud. A machine may have any other size too. */
export const machineSizes: readonly MachineSize[] = [
  size('Standard_B1s', 1, 1, 2),
  size('Standard_B1ms', 1, 2, 2),
  size('Standard_B2s', 2, 4, 4),
  size('Standard_B2ms', 2, 8, 4),
  size('Standard_DS1_v2', 1, 3.5, 4),
  size('Standard_DS2_v2', 2, 7, 8),
  size('Standard_D2s_v3', 2, 8, 4),
  size('Standard_D4s_v3', 4, 16, 8),
  size('Standard_D2s_v5', 2, 8, 4),
  size('Standard_D4s_v5', 4, 16, 8),
  size('Standard_D8s_v5', 8, 32, 16),
  size('Standard_E2s_v5', 2, 16, 4),
  size('Standard_E4s_v5', 4, 32, 8),
  size('Standard_F2s_v2', 2, 4, 4),
  size('Standard_F4s_v2', 4, 8, 8),
];

const mebibytes = 1_024;
/** Largest OS disk of any size, in MiB. */
const osDiskMib = 1_047_552;

/** A size in the list of a region or machine. */
export const sizeBody = ({ name, cores, memoryGib, dataDisksMax }: MachineSize): unknown => ({
  name,
  numberOfCores: cores,
  osDiskSizeInMB: osDiskMib,
  resourceDiskSizeInMB: 0,
  memoryInMB: memoryGib * mebibytes,
  maxDataDiskCount: dataDisksMax,
});

/** A size as a SKU. */
export const sizeSku = (
  { name, cores, memoryGib, dataDisksMax }: MachineSize,
  locations: readonly string[],
): unknown => ({
  resourceType: 'virtualMachines',
  name,
  tier: 'Standard',
  size: name.replace('Standard_', ''),
  family: `standard${name.replace(/^Standard_/, '').replace(/\d+.*/, '')}Family`,
  locations,
  locationInfo: locations.map((location) => ({ location, zones: ['1', '2', '3'], zoneDetails: [] })),
  capabilities: Object.entries({
    vCPUs: cores,
    MemoryGB: memoryGib,
    MaxDataDiskCount: dataDisksMax,
    PremiumIO: 'True',
    UltraSSDAvailable: 'True',
    HyperVGenerations: 'V1,V2',
    CpuArchitectureType: 'x64',
  }).map(([capability, value]) => ({ name: capability, value: String(value) })),
  restrictions: [],
});
