/** The picture of the Keras example: an image beside the grid of its patches. */
import { UserError } from "../errors.ts";

/** A picture of bytes, `[height, width, channels]` with 1 or 3 channels. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

// Pixels of the picture: about how wide the image is drawn, between patches, around and between.
const drawnSize = 432;
const gap = 4;
const margin = 24;

/** Numbers of an image's patches. */
export interface PatchNumbers {
  patches: number;
  elementsPerPatch: number;
}

/**
 * Counts the patches of a square image and the numbers in each.
 * @throws {UserError} if the patch does not divide the image.
 */
export function patchNumbers(
  imageSize: number,
  patchSize: number,
  channels: number,
): PatchNumbers {
  const side = patchesPerSide(imageSize, patchSize);
  return { patches: side * side, elementsPerPatch: patchSize * patchSize * channels };
}

/**
 * The four lines that the example prints.
 * @param channels channels of the image
 * @throws {UserError} if the patch does not divide the image.
 */
export function patchLines(imageSize: number, patchSize: number, channels: number): string[] {
  const { patches, elementsPerPatch } = patchNumbers(imageSize, patchSize, channels);
  return [
    `Image size: ${imageSize} X ${imageSize}`,
    `Patch size: ${patchSize} X ${patchSize}`,
    `Patches per image: ${patches}`,
    `Elements per patch: ${elementsPerPatch}`,
  ];
}

/**
 * Draws a square image and, to its right, its patches with gaps between them, all pixels enlarged
 * alike by a whole factor and without smoothing, on white.
 * @throws {UserError} if the image is not square or the patch does not divide it.
 */
export function drawPatches(image: Picture, patchSize: number): Picture {
  const { width: size, channels } = image;
  if (image.height !== size) {
    throw new UserError(`The image is ${size}x${image.height} pixels, but patches need a square.`);
  }
  const side = patchesPerSide(size, patchSize);
  const zoom = Math.max(1, Math.round(drawnSize / size));
  const plain = size * zoom;
  const grid = plain + (side - 1) * gap;
  const width = 3 * margin + plain + grid;
  const height = 2 * margin + grid;
  const data = new Uint8Array(width * height * channels).fill(255);
  const patch = patchSize * zoom;
  const spread = (at: number) => at + gap * Math.floor(at / patch);
  const top = margin + Math.floor((grid - plain) / 2);
  const right = 2 * margin + plain;
  for (let y = 0; y < plain; y++) {
    for (let x = 0; x < plain; x++) {
      const from = (Math.floor(y / zoom) * size + Math.floor(x / zoom)) * channels;
      const left = ((top + y) * width + margin + x) * channels;
      const tiled = ((margin + spread(y)) * width + right + spread(x)) * channels;
      for (let c = 0; c < channels; c++) {
        data[left + c] = data[tiled + c] = image.data[from + c]!;
      }
    }
  }
  return { width, height, channels, data };
}

function patchesPerSide(imageSize: number, patchSize: number): number {
  if (Number.isInteger(imageSize / patchSize)) return imageSize / patchSize;
  throw new UserError(
    `Image size ${imageSize} is not divisible by patch size ${patchSize}; choose a patch size that ` +
      `divides it.`,
  );
}
