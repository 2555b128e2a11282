/** Largest message of a control method, in bytes. */
export const CONTROL_MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** Largest message of a data stream, in bytes: 2 MiB of data and its other fields. */
export const DATA_MESSAGE_BYTES_MAX = 2 * 1024 * 1024 + 64 * 1024;
