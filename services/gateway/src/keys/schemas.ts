import { Type } from '@sinclair/typebox';
import { Int32 } from '../http/int32.ts';
import { membersOf } from '../text/members.ts';

/** Unix seconds. Later than year 9999 no timestamp can be written. */
const UnixSeconds = Type.Integer({ minimum: 0, maximum: 253_402_300_799 });

/** base64url without padding, up to a request's size. */
const Base64Url = Type.String({ pattern: '^[A-Za-z0-9_-]*$' });

export const AttributesBody = Type.Object({
  enabled: Type.Optional(Type.Boolean()),
  nbf: Type.Optional(UnixSeconds),
  exp: Type.Optional(UnixSeconds),
  exportable: Type.Optional(Type.Boolean()),
});

const Tags = membersOf(Type.String());
const KeyOps = Type.Array(Type.String(), { maxItems: 20 });

export const CreateKeyBody = Type.Object({
  kty: Type.String(),
  key_size: Type.Optional(Int32),
  public_exponent: Type.Optional(Type.Integer()),
  crv: Type.Optional(Type.String()),
  key_ops: Type.Optional(KeyOps),
  attributes: Type.Optional(AttributesBody),
  tags: Type.Optional(Tags),
});

export const ImportKeyBody = Type.Object({
  key: Type.Object({ kty: Type.String(), key_ops: Type.Optional(KeyOps) }),
  Hsm: Type.Optional(Type.Boolean()),
  hsm: Type.Optional(Type.Boolean()),
  attributes: Type.Optional(AttributesBody),
  tags: Type.Optional(Tags),
});

export const UpdateKeyBody = Type.Object({
  key_ops: Type.Optional(KeyOps),
  attributes: Type.Optional(AttributesBody),
  tags: Type.Optional(Tags),
});

export const RestoreKeyBody = Type.Object({ value: Base64Url });

export const CipherBody = Type.Object({ alg: Type.String(), value: Base64Url });

export const SignBody = Type.Object({ alg: Type.String(), value: Base64Url });

export const VerifyBody = Type.Object({ alg: Type.String(), digest: Base64Url, value: Base64Url });
