/** An image of bytes, row by row, channels last. */
export interface RgbImage {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Red, green and blue. */
  readonly channels: 3;
  /** `[height, width, 3]` */
  readonly data: Uint8Array;
}

/** Images of more pixels are refused. */
export const maxPixels = 64_000_000;

/** @throws {Error} when an image of that size is empty or has more than {@linkcode maxPixels}. */
export function checkSize(width: number, height: number): void {
  if (width === 0 || height === 0) throw new Error(`it is ${width}x${height} pixels`);
  if (width * height > maxPixels) {
    throw new Error(`${width}x${height} pixels are more than ${maxPixels / 1e6} megapixels`);
  }
}
