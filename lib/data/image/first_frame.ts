/**
 * A WebP animation cut after its first frame, since the decoder would go through all of them; any
 * other WebP file as it is.
 * @param bytes a file that begins as WebP does
 */
export function firstWebpFrame(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 12; at + 8 <= bytes.length;) {
    const type = String.fromCharCode(...bytes.subarray(at, at + 4));
    // Chunks are padded to an even length.
    const end = at + 8 + view.getUint32(at + 4, true);
    const next = end + (end & 1);
    if (type === "ANMF") {
      if (next >= bytes.length) return bytes;
      const first = bytes.slice(0, next);
      new DataView(first.buffer).setUint32(4, next - 8, true);
      return first;
    }
    at = next;
  }
  return bytes;
}
