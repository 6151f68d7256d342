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
