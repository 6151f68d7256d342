import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { shiftedPatches } from "../../lib/kernels/shifted_patches.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";

type Shape = [batch: number, height: number, width: number, channels: number];

/** Each number of the patches: where in the images it comes from, null for outside. */
function sources([batch, height, width, channels]: Shape, p: number): (number | null)[] {
  const half = Math.floor(p / 2);
  const list: (number | null)[] = [];
  // The shifts by name, from what the paper says of them: left-up, right-up, left-down, right-down.
  const moves = [[0, 0], [-half, -half], [-half, half], [half, -half], [half, half]] as const;
  for (let b = 0; b < batch; b++) {
    for (let top = 0; top < height; top += p) {
      for (let left = 0; left < width; left += p) {
        for (let y = top; y < top + p; y++) {
          for (let x = left; x < left + p; x++) {
            for (const [down, right] of moves) {
              // What is at (y, x) after the move was there before it.
              const [row, column] = [y - down, x - right];
              const isInside = row >= 0 && row < height && column >= 0 && column < width;
              for (let c = 0; c < channels; c++) {
                list.push(
                  isInside ? ((b * height + row) * width + column) * channels + c : null,
                );
              }
            }
          }
        }
      }
    }
  }
  return list;
}

const cases: [Shape, number][] = [
  [[2, 4, 4, 3], 2],
  [[3, 8, 12, 1], 4],
  [[2, 9, 6, 2], 3],
  [[1, 4, 4, 5], 4],
];
for (const [shape, p] of cases) {
  forEachBackend(`shifted patches of [${shape}] by ${p}, forward and backward`, async () => {
    const images = randomTensor(shape) as tf.Tensor4D;
    const from = sources(shape, p);
    const patches = shiftedPatches(images, p);
    const tokens = shape[1] / p * (shape[2] / p);
    assertEquals(patches.shape, [shape[0], tokens, p * p * 5 * shape[3]]);
    const pixels = await valuesOf(images);
    assertEquals([...await valuesOf(patches)], from.map((at) => at === null ? 0 : pixels[at]!));

    const upstream = randomTensor(patches.shape, 2);
    const gradient = tf.grad((x) => shiftedPatches(x as tf.Tensor4D, p))(images, upstream);
    const sums = new Float64Array(pixels.length);
    const given = await valuesOf(upstream);
    from.forEach((at, i) => {
      if (at !== null) sums[at]! += given[i]!;
    });
    assertEquals(gradient.shape, shape);
    (await valuesOf(gradient)).forEach((x, i) => assertAlmostEquals(x, sums[i]!, 1e-5));
    tf.dispose([images, patches, upstream, gradient]);
  });
}

forEachBackend("shifted patches need a patch that divides, of two pixels or more", () => {
  tf.tidy(() => {
    const images = tf.ones<tf.Rank.R4>([1, 6, 6, 1]);
    for (const p of [1, 4, 2.5]) assertThrows(() => shiftedPatches(images, p), Error, `into ${p}`);
  });
}, { backends: ["cpu"] });
