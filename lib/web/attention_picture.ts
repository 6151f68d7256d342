/// <reference lib="dom" />
/** A picture on a canvas, darkened where the model does not look. */
import type { Fit } from "../data/image/fit.ts";

/** Longest side of what is drawn, in pixels. */
const mostSide = 1024;
/** How dark it is where the model looks least, 0 to 1. */
const darkest = 0.8;

/** Shares of the places of a square, row by row. */
export interface AttentionMap {
  side: number;
  values: Float32Array;
}

/** Draws a picture, and where `map` is given the attention over it. */
export function drawPicture(
  canvas: HTMLCanvasElement,
  image: ImageBitmap,
  fit: Fit,
  map: AttentionMap | null,
): void {
  const scale = Math.min(1, mostSide / Math.max(image.width, image.height));
  const width = Math.max(1, Math.round(image.width * scale));
  const height = Math.max(1, Math.round(image.height * scale));
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  if (!map) return;
  const [seenWidth, seenHeight] = fit === "crop"
    ? [Math.min(width, height), Math.min(width, height)]
    : [width, height];
  const [left, top] = [(width - seenWidth) / 2, (height - seenHeight) / 2];
  const veil = canvasOf(veilOf(map), map.side);
  context.drawImage(veil, left, top, seenWidth, seenHeight);
  // What the model does not see at all.
  context.fillStyle = `rgb(0 0 0 / ${darkest})`;
  for (const x of [0, left + seenWidth]) context.fillRect(x, 0, left, height);
  for (const y of [0, top + seenHeight]) context.fillRect(left, y, seenWidth, top);
}

/** Where most of the attention lies, in words: one of nine places. */
export function placeOf({ side, values }: AttentionMap): string {
  const sums = new Float64Array(9);
  values.forEach((value, i) => {
    const [row, column] = [Math.floor(i / side), i % side];
    sums[Math.floor(3 * row / side) * 3 + Math.floor(3 * column / side)]! += value;
  });
  const most = sums.indexOf(Math.max(...sums));
  const [row, column] = [Math.floor(most / 3), most % 3];
  if (row === 1 && column === 1) return "in the middle";
  const vertical = ["at the top", "in the middle", "at the bottom"][row]!;
  return column === 1 ? vertical : `${vertical}, ${column === 0 ? "left" : "right"}`;
}

/** Black, the thinner the larger the share. */
function veilOf({ values }: AttentionMap): Uint8ClampedArray<ArrayBuffer> {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const rgba = new Uint8ClampedArray(values.length * 4);
  values.forEach((value, i) => {
    const share = most > least ? (value - least) / (most - least) : 1;
    rgba[4 * i + 3] = 255 * darkest * (1 - share);
  });
  return rgba;
}

function canvasOf(rgba: Uint8ClampedArray<ArrayBuffer>, width: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height: rgba.length / 4 / width });
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width), 0, 0);
  return canvas;
}
