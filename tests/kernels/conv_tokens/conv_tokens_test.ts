import { assert, assertEquals, assertThrows } from "@std/assert";
import { selectBackend } from "../../../lib/backend/select.ts";
import { convTokens } from "../../../lib/kernels/conv_tokens/conv_tokens.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { valuesOf } from "../../models/tiny_model.ts";
import { normals, relativeError } from "../linear/reference.ts";

/** Images `[batch, height, width, channels]`, and the filters of each stage. */
interface Case {
  images: [number, number, number, number];
  filters: number[];
}

/** No length is a power of two, no number of channels a multiple of 4, but where it says so. */
const cases: Record<string, Case> = {
  "as the preset has it": { images: [2, 32, 32, 3], filters: [64, 128] },
  "odd sides, odd channels": { images: [3, 7, 5, 3], filters: [5, 6, 7] },
  "channels of whole vectors": { images: [2, 9, 11, 4], filters: [8, 12] },
  "one pixel": { images: [2, 1, 1, 1], filters: [1] },
  "a line": { images: [1, 1, 13, 2], filters: [3, 9] },
  "one stage, more pixels than a tile": { images: [5, 19, 17, 1], filters: [34] },
  "tiles of 4x4, more images than a task": { images: [35, 8, 12, 32], filters: [36] },
  "many images": { images: [70, 6, 6, 3], filters: [20] },
};

/** One stage in float64 loops, and its gradients. */
function stage(
  x: Float64Array,
  [batch, height, width, channels]: number[],
  kernel: Float32Array,
  filters: number,
) {
  const [h, w, c] = [height!, width!, channels!];
  const [ph, pw] = [Math.ceil(h / 2), Math.ceil(w / 2)];
  const z = new Float64Array(batch! * h * w * filters);
  /** Calls for every product of the convolution. */
  const eachProduct = (visit: (z: number, x: number, k: number) => void) => {
    for (let b = 0; b < batch!; b++) {
      for (let y = 0; y < h; y++) {
        for (let u = 0; u < w; u++) {
          for (let tap = 0; tap < 9; tap++) {
            const [fy, fx] = [y + Math.floor(tap / 3) - 1, u + tap % 3 - 1];
            if (fy < 0 || fy >= h || fx < 0 || fx >= w) continue;
            for (let i = 0; i < c; i++) {
              for (let f = 0; f < filters; f++) {
                visit(
                  ((b * h + y) * w + u) * filters + f,
                  ((b * h + fy) * w + fx) * c + i,
                  (tap * c + i) * filters + f,
                );
              }
            }
          }
        }
      }
    }
  };
  eachProduct((zi, xi, ki) => void (z[zi]! += x[xi]! * kernel[ki]!));
  const y = new Float64Array(batch! * ph * pw * filters);
  const from = new Int32Array(y.length).fill(-1);
  y.forEach((_, o) => {
    const f = o % filters;
    const px = Math.floor(o / filters) % pw;
    const py = Math.floor(o / filters / pw) % ph;
    const b = Math.floor(o / filters / pw / ph);
    for (let v = Math.max(0, 2 * py - 1); v <= Math.min(h - 1, 2 * py + 1); v++) {
      for (let u = Math.max(0, 2 * px - 1); u <= Math.min(w - 1, 2 * px + 1); u++) {
        const i = ((b * h + v) * w + u) * filters + f;
        if (z[i]! > y[o]!) [y[o], from[o]] = [z[i]!, i];
      }
    }
  });
  const backward = (dy: Float64Array) => {
    const dz = new Float64Array(z.length);
    dy.forEach((value, o) => void (from[o]! >= 0 && (dz[from[o]!]! += value)));
    const [dx, dKernel] = [new Float64Array(x.length), new Float64Array(kernel.length)];
    eachProduct((zi, xi, ki) => {
      dx[xi]! += dz[zi]! * kernel[ki]!;
      dKernel[ki]! += dz[zi]! * x[xi]!;
    });
    return { dx, dKernel };
  };
  return { y, shape: [batch!, ph, pw, filters], backward };
}

function numbersOf({ images, filters }: Case) {
  const shapes = filters.map((out, i) => [3, 3, i === 0 ? images[3] : filters[i - 1]!, out]);
  const kernels = shapes.map((shape, i) => normals(shape, 20 + i, Math.sqrt(2 / (9 * shape[2]!))));
  return { x: normals(images, 1), shapes, kernels };
}

/** Numbers of a case, and what float64 loops make of them: tokens, and gradients of all inputs. */
function solved(c: Case) {
  const { x, shapes, kernels } = numbersOf(c);
  let [values, shape] = [Float64Array.from(x), c.images as number[]];
  const stages = kernels.map((kernel, i) => {
    const made = stage(values, shape, kernel, c.filters[i]!);
    [values, shape] = [made.y, made.shape];
    return made;
  });
  const dy = normals(shape, 40);
  const expected: Float64Array[] = [];
  let upstream = Float64Array.from(dy);
  for (const { backward } of stages.toReversed()) {
    const { dx, dKernel } = backward(upstream);
    expected.unshift(dKernel);
    upstream = dx as Float64Array<ArrayBuffer>;
  }
  const tokenShape = [shape[0]!, shape[1]! * shape[2]!, shape[3]!];
  return { x, shapes, kernels, dy, tokenShape, wanted: [values, upstream, ...expected] };
}

for (const [name, c] of Object.entries(cases)) {
  // Once for all backends: on a processor the loops take longer than what they prove.
  let known: ReturnType<typeof solved> | undefined;
  forEachBackend(`convTokens and its gradients, ${name}`, async () => {
    const { x, shapes, kernels, dy, tokenShape, wanted } = known ??= solved(c);
    const run = () =>
      tf.tidy(() => {
        const inputs = [x, ...kernels].map((data, i) =>
          tf.tensor(data, i === 0 ? c.images : shapes[i - 1]!)
        );
        const forward = (images: tf.Tensor, ...rest: tf.Tensor[]) =>
          convTokens(images as tf.Tensor4D, rest as tf.Tensor4D[]) as tf.Tensor;
        const tokens = forward(inputs[0]!, ...inputs.slice(1));
        assertEquals(tokens.shape, tokenShape);
        return [tokens, ...tf.grads(forward)(inputs, tf.tensor(dy, tokenShape))];
      });
    const results = [run(), run()];
    const [once, again] = await Promise.all(
      results.map((tensors) => Promise.all(tensors.map(valuesOf))),
    );
    tf.dispose(results);
    assert(
      again!.every((values, i) => values.every((v, j) => v === once![i]![j])),
      "two runs differ",
    );
    for (const [i, want] of wanted.entries()) {
      const error = relativeError(once![i]!, want);
      assert(error < 2e-5, `result ${i} (tokens, images, kernels) is wrong by ${error}`);
    }
  });
}

forEachBackend("any number of threads makes the same bytes, tiles of 4x4 included", async () => {
  const filters = 36;
  const run = async (threads: number) => {
    await selectBackend("wasm", { threads });
    const gradients = tf.tidy(() => {
      const x = tf.tensor4d(normals([35, 8, 12, 32], 1), [35, 8, 12, 32]);
      const kernel = tf.tensor4d(normals([3, 3, 32, filters], 2), [3, 3, 32, filters]);
      const { value, grads } = tf.valueAndGrads((x, kernel) =>
        convTokens(x as tf.Tensor4D, [kernel as tf.Tensor4D]).square().sum()
      )([x, kernel]);
      return [value, ...grads];
    });
    const values = await Promise.all(gradients.map(valuesOf));
    tf.dispose(gradients);
    return values;
  };
  const alone = await run(1);
  for (const threads of [2, 5]) assertEquals(await run(threads), alone);
  await selectBackend("wasm");
}, { backends: ["wasm"] });

forEachBackend("a kernel that is not finite reaches the tokens", async () => {
  const x = tf.ones<tf.Rank.R4>([1, 4, 4, 1]);
  for (const value of [NaN, Infinity, -Infinity]) {
    const kernel = tf.tensor4d([value, ...Array(8).fill(1)], [3, 3, 1, 1]);
    const tokens = tf.tidy(() => convTokens(x, [kernel]));
    const values = await valuesOf(tokens);
    tf.dispose([kernel, tokens]);
    if (value !== -Infinity) assert(values.some((v) => !Number.isFinite(v)), `${value}`);
  }
  x.dispose();
});

forEachBackend("convTokens refuses shapes that do not fit", () => {
  tf.tidy(() => {
    const images = tf.zeros<tf.Rank.R4>([1, 4, 4, 3]);
    const kernel = (...shape: [number, number, number, number]) => tf.zeros<tf.Rank.R4>(shape);
    for (
      const kernels of [
        [],
        [kernel(5, 5, 3, 4)],
        [kernel(3, 3, 2, 4)],
        [kernel(3, 3, 3, 4), kernel(3, 3, 5, 4)],
      ]
    ) {
      assertThrows(() => convTokens(images, kernels), Error, "convTokens cannot take");
    }
  });
}, { backends: ["cpu"] });
