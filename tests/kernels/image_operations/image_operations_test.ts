import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  type FinishOptions,
  imageOperations,
} from "../../../lib/kernels/image_operations/image_operations.ts";
import {
  type ImageOperation,
  operationRow,
  operations,
  ROUNDING,
} from "../../../lib/kernels/image_operations/operations.ts";
import { randomUniform, streamKey } from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { valuesOf } from "../../models/tiny_model.ts";

type Shape = [batch: number, height: number, width: number, channels: number];

/** Numbers that are no whole levels, near none that rounds either way. */
function randomImages([batch, height, width, channels]: Shape): Float32Array {
  const key = streamKey(height, width, channels);
  return Float32Array.from({ length: batch * height * width * channels }, (_, i) => {
    return Math.floor(60 + 140 * randomUniform(key, i)) + 0.25 * (i % 2);
  });
}

async function run(
  images: Float32Array,
  shape: Shape,
  listed: ImageOperation[] | null,
  finish?: Omit<FinishOptions, "erased"> & { erased?: number[][] },
): Promise<Float32Array> {
  const made = tf.tidy(() =>
    imageOperations(
      tf.tensor4d(images, shape),
      listed && tf.tensor2d(listed.map(operationRow)),
      finish && { ...finish, erased: finish.erased && tf.tensor2d(finish.erased) },
    )
  );
  assertEquals(made.shape, shape);
  const values = await valuesOf(made);
  made.dispose();
  return values;
}

/** The definition, one value at a time; shapes are `[height, width, channels]`. */
function reference(
  image: Float32Array,
  [height, width, channels]: number[],
  { name, magnitude: m = 0 }: ImageOperation,
): number[] {
  const at = (y: number, x: number, c: number) => image[(y * width! + x) * channels! + c]!;
  const level = (y: number, x: number, c: number) => Math.round(at(y, x, c));
  const pixels = Array.from({ length: height! * width! }, (_, p) => {
    return [Math.floor(p / width!), p % width!] as const;
  });
  const grey = (y: number, x: number) => {
    if (channels !== 3) {
      const all = Array.from({ length: channels! }, (_, c) => level(y, x, c));
      return Math.floor(all.reduce((a, b) => a + b) / channels!);
    }
    const [r, g, b] = [0, 1, 2].map((c) => level(y, x, c));
    return Math.floor((2989 * r! + 5870 * g! + 1140 * b!) / 10000);
  };
  const blend = (a: number, b: number) =>
    Math.floor(Math.min(255, Math.max(0, m * a + (1 - m) * b)) + ROUNDING);
  const mean = pixels.reduce((sum, [y, x]) => sum + grey(y, x), 0) / pixels.length;
  const sortedLevels = Array.from({ length: channels! }, (_, c) => {
    return pixels.map(([y, x]) => level(y, x, c)).sort((a, b) => a - b);
  });
  const inside = (y: number, x: number) => y >= 0 && x >= 0 && y < height! && x < width!;
  const sampled = (sy: number, sx: number, c: number) => {
    let [sum, covered] = [0, 0];
    for (const y of [Math.floor(sy), Math.floor(sy) + 1]) {
      for (const x of [Math.floor(sx), Math.floor(sx) + 1]) {
        if (!inside(y, x)) continue;
        const share = (1 - Math.abs(sy - y)) * (1 - Math.abs(sx - x));
        sum += share * at(y, x, c);
        covered += share;
      }
    }
    return covered * sum + (1 - covered) * 128;
  };
  const value = (y: number, x: number, c: number): number => {
    const own = level(y, x, c);
    const sorted = sortedLevels[c]!;
    const [low, high] = [sorted[0]!, sorted.at(-1)!];
    switch (name) {
      case "identity":
        return at(y, x, c);
      case "autocontrast":
        return low === high ? own : Math.floor((own - low) * 255 / (high - low));
      case "equalize": {
        const step = Math.floor(sorted.filter((other) => other < high).length / 255);
        const below = sorted.filter((other) => other < own).length;
        return step === 0 ? own : Math.min(255, Math.floor((below + Math.floor(step / 2)) / step));
      }
      case "invert":
        return 255 - own;
      case "posterize":
        return own - own % 2 ** (8 - m);
      case "solarize":
        return own < m ? own : 255 - own;
      case "contrast":
        return blend(own, mean);
      case "brightness":
        return blend(own, 0);
      case "color":
        return channels === 3 ? blend(own, grey(y, x)) : at(y, x, c);
      case "sharpness": {
        if (y === 0 || x === 0 || y === height! - 1 || x === width! - 1) return own;
        let sum = 4 * own;
        for (let i = 0; i < 9; i++) sum += level(y + Math.floor(i / 3) - 1, x + i % 3 - 1, c);
        return blend(own, Math.round(sum / 13));
      }
      case "rotate": {
        const [cy, cx] = [(height! - 1) / 2, (width! - 1) / 2];
        const [cos, sin] = [Math.cos(m * Math.PI / 180), Math.sin(m * Math.PI / 180)];
        const [dy, dx] = [y - cy, x - cx];
        return sampled(cy + sin * dx + cos * dy, cx + cos * dx - sin * dy, c);
      }
      case "shear_x":
        return sampled(y, x + m * (y + 0.5), c);
      case "shear_y":
        return sampled(y + m * (x + 0.5), x, c);
      case "translate_x":
        return sampled(y, x - m, c);
      case "translate_y":
        return sampled(y - m, x, c);
    }
  };
  return pixels.flatMap(([y, x]) => Array.from({ length: channels! }, (_, c) => value(y, x, c)));
}

function worstError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assertEquals(actual.length, expected.length);
  return Math.max(...Array.from(actual, (value, i) => Math.abs(value - expected[i]!)));
}

const magnitudes: Partial<Record<ImageOperation["name"], number>> = {
  ...{ posterize: 3, solarize: 131.5, contrast: 1.37, brightness: 1.43, color: 0.37 },
  ...{ sharpness: 1.63, rotate: -37, shear_x: 0.31, shear_y: -0.57 },
  ...{ translate_x: 2, translate_y: -3 },
};
const every = operations.map((name): ImageOperation => ({ name, magnitude: magnitudes[name] }));

// Not square, every number of channels, fewer and more pixels than a histogram has steps.
for (
  const [height, width, channels] of [[3, 5, 1], [23, 17, 1], [19, 25, 3], [4, 4, 4]]
) {
  const shape = [every.length, height!, width!, channels!] as Shape;
  forEachBackend(`each image has its own operation, [${shape.slice(1)}]`, async () => {
    const images = randomImages(shape);
    const actual = await run(images, shape, every);
    const size = images.length / every.length;
    every.forEach((operation, n) => {
      const expected = reference(
        images.subarray(n * size, (n + 1) * size),
        shape.slice(1),
        operation,
      );
      const error = worstError(actual.subarray(n * size, (n + 1) * size), expected);
      assert(error < 1e-3, `${operation.name} is off by ${error}`);
    });
  });
}

forEachBackend(
  "an image of one level has no contrast to stretch and none to equalize",
  async () => {
    const names = ["autocontrast", "equalize"] as const;
    const images = new Float32Array(2 * 400 * 3).fill(77);
    assertEquals(await run(images, [2, 20, 20, 3], names.map((name) => ({ name }))), images);
  },
);

forEachBackend("levels beyond 0 to 255 count as the nearest", async () => {
  const images = Float32Array.of(-3, 300, 254.6, 0.4);
  assertEquals([...await run(images, [1, 2, 2, 1], [{ name: "invert" }])], [255, 0, 0, 255]);
});

const statistics = { mean: [100, 120, 90], variance: [2500, 3600, 900] };
const normalized = (images: Float32Array) =>
  images.map((x, i) => (x - statistics.mean[i % 3]!) / Math.sqrt(statistics.variance[i % 3]!));

forEachBackend("the last call normalizes, and then erases", async () => {
  const shape: Shape = [3, 6, 9, 3];
  const images = randomImages(shape);
  const inverted = await run(images, shape, Array(3).fill({ name: "invert" }));
  const erased = [[1, 2, 4, 9], [0, 0, 0, 0], [0, 0, 6, 9]];
  const isErased = (i: number) => {
    const [n, y, x] = [Math.floor(i / 162), Math.floor(i % 162 / 27), Math.floor(i % 27 / 3)];
    const [top, left, bottom, right] = erased[n]!;
    return y >= top! && y < bottom! && x >= left! && x < right!;
  };
  for (const [listed, levels] of [[Array(3).fill({ name: "invert" }), inverted], [null, images]]) {
    const plain = await run(images, shape, listed as ImageOperation[] | null, statistics);
    assertAlmostEquals(worstError(plain, normalized(levels as Float32Array)), 0, 1e-5);
    const holed = await run(images, shape, listed as ImageOperation[] | null, {
      ...statistics,
      erased,
    });
    assertEquals(holed, plain.map((x, i) => isErased(i) ? 0 : x));
  }
});

forEachBackend("images without an operation stay as they are", async () => {
  const shape: Shape = [2, 4, 4, 3];
  const images = randomImages(shape);
  assertEquals(await run(images, shape, null), images);
});

forEachBackend("what does not fit is refused", () => {
  tf.tidy(() => {
    const images = tf.zeros([2, 4, 4, 3]) as tf.Tensor4D;
    const refused = (message: string, ...given: Parameters<typeof imageOperations>) =>
      assertThrows(() => imageOperations(...given), Error, message);
    refused("must be [2, 3], not [1,3]", images, tf.zeros([1, 3]));
    refused("must be [2, 4], not [2,3]", images, null, {
      ...statistics,
      erased: tf.zeros([2, 3]),
    });
    refused("as many means", images, null, { mean: [0], variance: [1] });
    refused("1 to 4 channels", tf.zeros([2, 4, 4, 5]), null);
  });
}, { backends: ["cpu"] });
