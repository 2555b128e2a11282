/** Largest message of a control method, in bytes. */
export const CONTROL_MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** Largest message of a data stream, in bytes: a piece of 2 MiB and room for the fields around it. */
export const DATA_MESSAGE_BYTES_MAX = 2 * 1024 * 1024 + 64 * 1024;
