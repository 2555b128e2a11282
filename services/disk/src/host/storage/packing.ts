/**
 * Packs pieces of memory into one buffer to be moved to another thread: that costs less than to copy or move each piece.
 * @returns views of the same content, in order, valid in the message that moves the buffer
 */
export const packed = (
  pieces: readonly Uint8Array[],
): { readonly views: readonly Uint8Array[]; readonly buffer: ArrayBuffer } => {
  const buffer = new ArrayBuffer(pieces.reduce((length, piece) => length + piece.length, 0));
  let used = 0;
  const views = pieces.map((piece) => {
    const view = new Uint8Array(buffer, used, piece.length);
    view.set(piece);
    used += piece.length;
    return view;
  });
  return { views, buffer };
};
