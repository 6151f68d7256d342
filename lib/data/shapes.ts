/**
 * `shapes`: a procedural data set that needs no download. 100 classes, ten shapes by ten colours,
 * on noisy grey backgrounds, varied in place, size and angle.
 *
 * Every image is a pure function of (seed, split, index). Shapes stay themselves when mirrored or
 * turned by some 30 degrees, so that training may augment them.
 */
import { createHash } from "node:crypto";
import { permutation, randomBits, randomUniform, streamKey, streams } from "../random.ts";
import type { ImageDataset, ImageSplit } from "./dataset.ts";

const side = 32;
const channels = 3;
const imageBytes = side * side * channels;

const colours: Record<string, readonly [number, number, number]> = {
  red: [220, 35, 35],
  orange: [245, 140, 20],
  yellow: [240, 225, 40],
  green: [40, 165, 50],
  cyan: [50, 215, 220],
  blue: [40, 70, 220],
  purple: [125, 45, 185],
  pink: [250, 130, 195],
  white: [248, 248, 248],
  black: [15, 15, 15],
};

/** Signed distance to the outline at (x, y), negative inside; the shape has radius 1 or little more. */
type Distance = (x: number, y: number) => number;

const shapes: Record<string, Distance> = {
  circle: disc(0, 0, 0.9),
  square: polygon([-0.75, -0.75, 0.75, -0.75, 0.75, 0.75, -0.75, 0.75]),
  triangle: polygon([0, -1, 0.87, 0.6, -0.87, 0.6]),
  ring: without(disc(0, 0, 1), disc(0, 0, 0.6)),
  cross: polygon([
    ...[-0.3, -1, 0.3, -1, 0.3, -0.3, 1, -0.3, 1, 0.3, 0.3, 0.3],
    ...[0.3, 1, -0.3, 1, -0.3, 0.3, -1, 0.3, -1, -0.3, -0.3, -0.3],
  ]),
  star: polygon(
    Array.from({ length: 10 }, (_, i) => {
      const radius = i % 2 === 0 ? 1 : 0.4;
      const angle = (i * Math.PI) / 5;
      return [radius * Math.sin(angle), -radius * Math.cos(angle)];
    }).flat(),
  ),
  bar: polygon([-1, -0.3, 1, -0.3, 1, 0.3, -1, 0.3]),
  diamond: polygon([0, -1, 0.55, 0, 0, 1, -0.55, 0]),
  crescent: without(disc(0, 0, 1), disc(0.45, 0, 0.8)),
  hourglass: polygon([-0.75, -0.9, 0.75, -0.9, -0.75, 0.9, 0.75, 0.9]),
};

/** Every shape's points are nearer to its centre. */
const widest = 1.25;

/** What a byte of noise means, -1 to 1. */
const noises = Float64Array.from({ length: 256 }, (_, byte) => byte / 127.5 - 1);

const colourNames = Object.keys(colours);
const shapeNames = Object.keys(shapes);

/** The classes by label: `red circle`, `orange circle`, ... */
export const shapesClassNames: readonly string[] = shapeNames.flatMap((shape) =>
  colourNames.map((colour) => `${colour} ${shape}`)
);

/** Options of {@linkcode createShapes}. */
export interface ShapesOptions {
  /** Images to learn from; 10,000 by default. */
  train?: number;
  /** Images to test on; 1,000 by default. */
  test?: number;
  /** 0 by default; not the seed of a run, so that all runs see one data set. */
  seed?: number;
}

/**
 * Makes the data set; labels are balanced and in pseudo-random order.
 *
 * @example
 * ```ts
 * import { createShapes } from "../../mod.ts";
 *
 * const { train, classNames } = createShapes({ train: 60, test: 20 });
 * console.log(train.count, classNames[train.labels[0]!]);
 * ```
 */
export function createShapes(
  { train = 10_000, test = 1_000, seed = 0 }: ShapesOptions = {},
): ImageDataset {
  const splits = [drawSplit(train, seed, 0), drawSplit(test, seed, 1)] as const;
  const hash = createHash("sha256");
  for (const split of splits) hash.update(split.labels).update(split.images);
  return {
    name: "shapes",
    height: side,
    width: side,
    channels,
    classNames: [...shapesClassNames],
    train: splits[0],
    test: splits[1],
    identity: hash.digest("hex"),
  };
}

function drawSplit(count: number, seed: number, splitIndex: number): ImageSplit {
  const firstStep = splitIndex * 2 ** 31;
  const order = permutation(count, streamKey(seed, streams.shapes, firstStep + 2 ** 31 - 1));
  const labels = Uint8Array.from(order, (i) => i % shapesClassNames.length);
  const images = new Uint8Array(count * imageBytes);
  for (let i = 0; i < count; i++) {
    const image = images.subarray(i * imageBytes, (i + 1) * imageBytes);
    drawImage(image, labels[i]!, seed, firstStep + i);
  }
  return { images, labels, count };
}

function drawImage(image: Uint8Array, label: number, seed: number, step: number): void {
  const key = streamKey(seed, streams.shapes, step);
  let draws = 0;
  const between = (low: number, high: number) => low + (high - low) * randomUniform(key, draws++);

  const distance = shapes[shapeNames[Math.floor(label / colourNames.length)]!]!;
  const colour = colours[colourNames[label % colourNames.length]!]!;
  const paint = colour.map((value) => value + between(-14, 14));
  const radius = between(9, 14);
  // The outline may touch the border but hardly leaves it.
  const room = side / 2 - radius + 1;
  const centreX = side / 2 + between(-room, room);
  const centreY = side / 2 + between(-room, room);
  const angle = between(-20, 20) * (Math.PI / 180);
  const cos = Math.cos(angle) / radius;
  const sin = Math.sin(angle) / radius;
  const grey = between(95, 160);
  const slopeX = between(-1, 1);
  const slopeY = between(-1, 1);
  // Beyond it the outline is farther than half a pixel.
  const reach = (widest * radius + 0.5) ** 2;

  for (let y = 0, at = 0; y < side; y++) {
    const dy = y + 0.5 - centreY;
    for (let x = 0; x < side; x++, at += channels) {
      const dx = x + 0.5 - centreX;
      let cover = 0;
      if (dx * dx + dy * dy < reach) {
        const pixels = distance(cos * dx + sin * dy, cos * dy - sin * dx) * radius;
        cover = Math.min(1, Math.max(0, 0.5 - pixels));
      }
      const ground = grey + slopeX * (x - side / 2) + slopeY * (y - side / 2);
      // One draw gives all channels eight bits each; the image's own draws come first.
      const bits = randomBits(key, 32 + y * side + x);
      for (let channel = 0; channel < channels; channel++) {
        const noise = noises[(bits >>> (8 * channel)) & 255]!;
        let value = ground + 26 * noise;
        if (cover > 0) value += cover * (paint[channel]! + 8 * noise - ground - 26 * noise);
        // Cut off, it is rounded; twice as fast as Math.round.
        image[at + channel] = value <= 0 ? 0 : value >= 255 ? 255 : value + 0.5;
      }
    }
  }
}

function disc(centreX: number, centreY: number, radius: number): Distance {
  return (x, y) => Math.sqrt((x - centreX) ** 2 + (y - centreY) ** 2) - radius;
}

function without(shape: Distance, hole: Distance): Distance {
  return (x, y) => Math.max(shape(x, y), -hole(x, y));
}

/**
 * The polygon through the points x0, y0, x1, y1, ...; where its outline crosses itself, even-odd.
 */
function polygon(corners: readonly number[]): Distance {
  const points = Float64Array.from(corners);
  return (x, y) => {
    let nearest = Infinity;
    let inside = false;
    let x0 = points[points.length - 2]!;
    let y0 = points[points.length - 1]!;
    for (let i = 0; i < points.length; i += 2) {
      const x1 = points[i]!;
      const y1 = points[i + 1]!;
      const ex = x1 - x0;
      const ey = y1 - y0;
      const wx = x - x0;
      const wy = y - y0;
      const along = (wx * ex + wy * ey) / (ex * ex + ey * ey);
      const within = along < 0 ? 0 : along > 1 ? 1 : along;
      const offX = wx - within * ex;
      const offY = wy - within * ey;
      const square = offX * offX + offY * offY;
      if (square < nearest) nearest = square;
      if (y0 > y !== y1 > y && wx < (ex * wy) / ey) inside = !inside;
      x0 = x1;
      y0 = y1;
    }
    return inside ? -Math.sqrt(nearest) : Math.sqrt(nearest);
  };
}
