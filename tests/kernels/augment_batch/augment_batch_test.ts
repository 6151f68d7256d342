import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { composed } from "../../../lib/augment/affine.ts";
import { decodeSafetensors } from "../../../lib/checkpoint/safetensors.ts";
import { augmentBatch, packImages } from "../../../lib/kernels/augment_batch/augment_batch.ts";
import type { AugmentOptions } from "../../../lib/kernels/augment_batch/options.ts";
import { randomBits, randomUniform, streamKey } from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";

function randomBytes(size: number): Uint8Array {
  const key = streamKey(size, 0, 0);
  return Uint8Array.from({ length: size }, (_, i) => randomBits(key, i));
}

/** Runs the op on images in host memory. */
async function run(
  images: Uint8Array,
  indices: number[],
  transforms: number[][] | null,
  options: AugmentOptions,
  limit?: number,
): Promise<number[]> {
  const output = tf.tidy(() =>
    augmentBatch(
      packImages(images, options.height * options.width * options.channels, limit),
      tf.tensor1d(indices, "int32"),
      transforms && tf.tensor2d(transforms),
      options,
    )
  );
  const values = [...await output.data()];
  const { size, channels } = options;
  assertEquals(output.shape, [indices.length, size, size, channels]);
  output.dispose();
  return values;
}

/** The definition in float64, one output value at a time. */
function reference(
  images: Uint8Array,
  indices: number[],
  transforms: number[][] | null,
  { height, width, channels, size, mean, variance }: AugmentOptions,
): number[] {
  const linear = (at: number, read: (i: number) => number) => {
    const low = Math.floor(at);
    return (1 - (at - low)) * read(low) + (at - low) * read(low + 1);
  };
  const clamp = (i: number, length: number) => Math.min(Math.max(i, 0), length - 1);
  const reflect = (i: number) => {
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
  };
  const values: number[] = [];
  indices.forEach((index, n) => {
    const stored = (y: number, x: number, c: number) =>
      images[((index * height + clamp(y, height)) * width + clamp(x, width)) * channels + c]!;
    const resized = (y: number, x: number, c: number) =>
      linear(
        (y + 0.5) * height / size - 0.5,
        (sy) => linear((x + 0.5) * width / size - 0.5, (sx) => stored(sy, sx, c)),
      );
    const t = transforms?.[n]?.map(Math.fround) ?? [1, 0, 0, 0, 1, 0];
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        for (let c = 0; c < channels; c++) {
          const raw = linear(
            t[3]! * x + t[4]! * y + t[5]!,
            (sy) =>
              linear(t[0]! * x + t[1]! * y + t[2]!, (sx) => resized(reflect(sy), reflect(sx), c)),
          );
          values.push((raw - mean[c]!) / Math.sqrt(variance[c]!));
        }
      }
    }
  });
  return values;
}

function worstError(actual: number[], expected: ArrayLike<number>): number {
  assertEquals(actual.length, expected.length);
  return actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!)), 0);
}

const golden = decodeSafetensors(
  await Deno.readFile(new URL("../../golden/augment.safetensors", import.meta.url)),
);
const goldenNumbers = (name: string) => [...golden.tensors.get(name)!.data as Float32Array];
const goldenImages = Uint8Array.from(goldenNumbers("input.images"));
const goldenOptions: AugmentOptions = {
  height: 32,
  width: 32,
  channels: 3,
  size: 72,
  mean: goldenNumbers("input.mean"),
  variance: goldenNumbers("input.variance"),
};
const rotationBy = (angle: number): [number, number, number, number] => {
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  return [cosine, -sine, sine, cosine];
};
const everyGolden = [0, 1, 2, 3, 4, 5];

forEachBackend("augmentBatch normalizes and resizes as the reference file", async () => {
  const actual = await run(goldenImages, everyGolden, null, goldenOptions);
  assertAlmostEquals(worstError(actual, goldenNumbers("output.resized")), 0, 1e-4);
});

forEachBackend("augmentBatch agrees with the reference file's composed maps", async () => {
  const zoom = goldenNumbers("params.zoom");
  const angle = goldenNumbers("params.angle");
  const transforms = goldenNumbers("params.flip").map((flip, i) =>
    composed([
      { linear: [flip === 1 ? -1 : 1, 0, 0, 1] },
      { linear: rotationBy(angle[i]!) },
      { linear: [zoom[2 * i + 1]!, 0, 0, zoom[2 * i]!] },
    ], 72)
  );
  const actual = await run(goldenImages, everyGolden, transforms, goldenOptions);
  assertAlmostEquals(worstError(actual, goldenNumbers("output.composed")), 0, 1e-3);
});

/** Sizes up and down, not square, every number of channels, images that do not fill words. */
const cases = [
  { height: 5, width: 7, channels: 1, size: 6 },
  { height: 4, width: 4, channels: 2, size: 4 },
  { height: 7, width: 3, channels: 3, size: 5 },
  { height: 5, width: 5, channels: 3, size: 5 },
  { height: 9, width: 8, channels: 3, size: 3 },
  { height: 3, width: 5, channels: 4, size: 8 },
  { height: 1, width: 1, channels: 3, size: 1 },
];
/** A plain one, one that leaves the image far on every side, one that shrinks it to a point. */
const maps = [
  [0.9, -0.2, 0.3, 0.15, 1.1, -0.4],
  [-7.3, 2.1, 21.7, 3.3, 9.1, -40.2],
  [0, 0, 1.25, 0, 0, -3.5],
];
for (const { height, width, channels, size } of cases) {
  const options: AugmentOptions = {
    ...{ height, width, channels, size },
    mean: [100, 120, 90, 5].slice(0, channels),
    variance: [2500, 3600, 900, 10000].slice(0, channels),
  };
  const images = randomBytes(4 * height * width * channels);
  const indices = [3, 0, 3];
  forEachBackend(
    `augmentBatch of [${height}, ${width}, ${channels}] to ${size} matches float64`,
    async () => {
      for (const transforms of [maps, null]) {
        const actual = await run(images, indices, transforms, options);
        assertAlmostEquals(
          worstError(actual, reference(images, indices, transforms, options)),
          0,
          // Sampling points of float32 near 50 are off by 4e-6 pixels, of up to 8.5 a pixel.
          transforms ? 2e-4 : 1e-5,
        );
      }
    },
  );
}

forEachBackend("augmentBatch reads images from several tensors as from one", async () => {
  const options = {
    height: 4,
    width: 4,
    channels: 3,
    size: 6,
    mean: [0, 0, 0],
    variance: [1, 1, 1],
  };
  const images = randomBytes(7 * 48);
  const indices = [6, 5, 4, 3, 2, 1, 0];
  const key = streamKey(1, 1, 1);
  const transforms = indices.map((i) =>
    Array.from({ length: 6 }, (_, k) => 2 * randomUniform(key, i * 6 + k) - 1)
  );
  const whole = await run(images, indices, transforms, options);
  assert(worstError(whole, new Float32Array(whole.length)) > 0);
  // A limit of two images a tensor: four tensors, the last of one.
  assertEquals(await run(images, indices, transforms, options, 100), whole);
});

forEachBackend("packImages keeps each tensor within the limit", () => {
  tf.tidy(() => {
    const shapes = packImages(randomBytes(7 * 47), 47, 100).map(({ shape }) => shape);
    assertEquals(shapes, [[2, 12], [2, 12], [2, 12], [1, 12]]);
  });
}, { backends: ["cpu"] });

forEachBackend("augmentBatch refuses what does not fit", () => {
  const options = { height: 2, width: 2, channels: 1, size: 2, mean: [0], variance: [1] };
  tf.tidy(() => {
    const packed = packImages(new Uint8Array(8), 4);
    const indices = tf.tensor1d([0, 1], "int32");
    assertThrows(
      () => augmentBatch(packed, indices, null, { ...options, height: 4 }),
      Error,
      "not int32 [2,1]",
    );
    assertThrows(
      () => augmentBatch(packed, indices, tf.zeros([1, 6]), options),
      Error,
      "must be [2, 6]",
    );
    assertThrows(
      () => augmentBatch(packed, tf.tensor1d([0, 2], "int32"), null, options),
      RangeError,
    );
  });
}, { backends: ["cpu"] });
