import { type Static, Type } from '@sinclair/typebox';
import { Int32 } from '../http/int32.ts';
import { TagsBody } from '../management/arm.ts';
import { membersOf } from '../text/members.ts';

const id = Type.String({ maxLength: 500 });
const word = Type.String({ maxLength: 100 });

const ManagedDisk = Type.Object({
  id: Type.Optional(id),
  storageAccountType: Type.Optional(word),
  diskEncryptionSet: Type.Optional(Type.Object({ id: Type.Optional(id) })),
});

const diskMembers = {
  name: Type.Optional(Type.String({ maxLength: 80 })),
  createOption: Type.Optional(word),
  caching: Type.Optional(word),
  diskSizeGB: Type.Optional(Int32),
  deleteOption: Type.Optional(word),
  managedDisk: Type.Optional(ManagedDisk),
};

const OsDiskBody = Type.Object({ ...diskMembers, osType: Type.Optional(word) });
const DataDiskBody = Type.Object({
  ...diskMembers,
  lun: Type.Optional(Int32),
  toBeDetached: Type.Optional(Type.Boolean()),
});

/** A machine in a PUT or PATCH. Members without a schema are kept as they are. */
export const MachineBody = Type.Object({
  location: Type.Optional(Type.String({ maxLength: 64 })),
  tags: Type.Optional(TagsBody),
  zones: Type.Optional(Type.Array(Type.String({ maxLength: 10 }), { maxItems: 10 })),
  identity: Type.Optional(
    Type.Object({
      type: Type.Optional(word),
      userAssignedIdentities: Type.Optional(membersOf(Type.Unknown())),
    }),
  ),
  properties: Type.Optional(
    Type.Object({
      hardwareProfile: Type.Optional(Type.Object({ vmSize: Type.Optional(word) })),
      storageProfile: Type.Optional(
        Type.Object({
          osDisk: Type.Optional(OsDiskBody),
          dataDisks: Type.Optional(Type.Array(DataDiskBody, { maxItems: 256 })),
        }),
      ),
      additionalCapabilities: Type.Optional(Type.Object({ ultraSSDEnabled: Type.Optional(Type.Boolean()) })),
    }),
  ),
});

/** `attachDetachDataDisks`. */
export const AttachDetachBody = Type.Object({
  dataDisksToAttach: Type.Optional(
    Type.Array(
      Type.Object({
        diskId: id,
        lun: Type.Optional(Int32),
        caching: Type.Optional(word),
        deleteOption: Type.Optional(word),
      }),
      { maxItems: 64 },
    ),
  ),
  dataDisksToDetach: Type.Optional(Type.Array(Type.Object({ diskId: id }), { maxItems: 64 })),
});

export type MachineGiven = Static<typeof MachineBody>;
export type OsDiskGiven = Static<typeof OsDiskBody>;
export type DataDiskGiven = Static<typeof DataDiskBody>;
export type AttachDetachGiven = Static<typeof AttachDetachBody>;
