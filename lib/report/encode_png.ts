import { crc32, deflateSync } from "node:zlib";
import { concat } from "../deps.ts";

/**
 * The bytes of a PNG file without compression filters, for pictures that we draw ourselves.
 * @param image `data` is `[height, width, channels]` with 1 (grey) or 3 channels
 */
export function encodePng(
  { width, height, channels, data }: {
    width: number;
    height: number;
    channels: number;
    data: Uint8Array;
  },
): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, channels === 1 ? 0 : 2, 0, 0, 0], 8);
  const row = width * channels;
  // Each row begins with the number of its filter, here none.
  const rows = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) {
    rows.set(data.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  }
  return concat([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    pngChunk("IHDR", header),
    pngChunk("IDAT", deflateSync(rows)),
    pngChunk("IEND", new Uint8Array(0)),
  ]);
}

/** The bytes of a chunk of a PNG file. */
export function pngChunk(type: string, body: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}
