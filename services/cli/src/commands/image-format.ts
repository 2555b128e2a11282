/** Formats of image files. */
export const imageFormats = ['raw', 'qcow2'] as const;
export type ImageFormat = (typeof imageFormats)[number];
