/** What a JPEG file declares before its pixels. */
export interface JpegHeader {
  /** In pixels, as stored, before it is turned upright. */
  width: number;
  /** In pixels, as stored, before it is turned upright. */
  height: number;
  /** 1 in a grey image, 4 in one of CMYK. */
  components: number;
  /**
   * Bytes of the coefficients that libjpeg holds at once; 0 where it decodes row by row, since one
   * scan has all there is to a row.
   */
  coefficientBytes: number;
  /** Passes over the image; many in a progressive file. */
  scans: number;
}

/**
 * Walks the markers of a JPEG file as libjpeg does, over garbage between them.
 * @throws {Error} saying what is wrong with the file.
 */
export function readJpegHeader(bytes: Uint8Array): JpegHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let frame: Omit<JpegHeader, "scans"> | undefined;
  let isProgressive = false;
  let isWhole = true;
  let scans = 0;
  for (let at = 2;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0 || at + 4 > bytes.length) break;
    const marker = bytes[++at]!;
    // Fill bytes, stuffed zeros and markers without a body, restarts for example.
    if (marker === 0xff || marker === 0 || marker === 1) continue;
    if (marker >= 0xd0 && marker <= 0xd8) continue;
    if (marker === 0xd9) break;
    const length = view.getUint16(at + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && !frame && length >= 8 && at + 1 + length <= bytes.length) {
      frame = readFrame(bytes, view, at + 3, length - 2);
      isProgressive = [0xc2, 0xc6, 0xca, 0xce].includes(marker);
    }
    if (marker === 0xda) {
      if (!frame) break;
      scans++;
      isWhole &&= bytes[at + 3] === frame.components;
    }
    at += 1 + length;
  }
  if (!frame) throw new Error("it declares no size before its pixels");
  if (scans === 0) throw new Error("it holds no pixels after its header");
  const coefficientBytes = isProgressive || !isWhole ? frame.coefficientBytes : 0;
  return { ...frame, coefficientBytes, scans };
}

function readFrame(bytes: Uint8Array, view: DataView, at: number, length: number) {
  const bits = bytes[at]!;
  if (bits !== 8) throw new Error(`it has ${bits} bits a sample; save it with 8`);
  const height = view.getUint16(at + 1);
  const width = view.getUint16(at + 3);
  const components = bytes[at + 5]!;
  const samplings = Array.from({ length: components }, (_, i) => {
    const sampling = 3 * i + 8 <= length ? bytes[at + 7 + 3 * i]! : 0;
    return [sampling >> 4, sampling & 15] as const;
  });
  for (const [across, down] of samplings) {
    // ITU-T T.81, B.2.2.
    if (across < 1 || across > 4 || down < 1 || down > 4) {
      throw new Error(`a sampling of ${across}x${down} does not exist`);
    }
  }
  const largestAcross = Math.max(...samplings.map(([across]) => across));
  const largestDown = Math.max(...samplings.map(([, down]) => down));
  let coefficients = 0;
  for (const [across, down] of samplings) {
    coefficients += width * height * across * down / (largestAcross * largestDown);
  }
  return { width, height, components, coefficientBytes: 2 * coefficients };
}
