import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AdamW, type AdamWConfig } from "../../lib/optim/adamw.ts";
import { randomUniform, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { valuesOf } from "../models/tiny_model.ts";

let serial = 0;

/** A trainable variable whose name nobody has. */
function variable(values: Float32Array, shape: number[], name = "kernel"): tf.Variable {
  return tf.tidy(() => tf.variable(tf.tensor(values, shape), true, `${name}_${serial++}`));
}

function uniform(size: number, stream: number): Float32Array {
  const key = streamKey(11, stream, 0);
  return Float32Array.from({ length: size }, (_, i) => 2 * randomUniform(key, i) - 1);
}

/** Applies the given gradients once. */
function apply(optimizer: AdamW, variables: tf.Variable[], gradients: Float32Array[]): void {
  tf.tidy(() =>
    optimizer.applyGradients(variables.map(({ name, shape }, i) => ({
      name,
      tensor: tf.tensor(gradients[i]!, shape),
    })))
  );
}

const shapes = [[3, 4], [5], [4]];
const names = ["kernel", "bias", "norm/gamma"];

function makeVariables(): tf.Variable[] {
  return shapes.map((shape, i) =>
    variable(uniform(tf.util.sizeFromShape(shape), i), shape, names[i])
  );
}

/** The gradients of update `t`, from 1. */
function gradientsAt(t: number): Float32Array[] {
  return shapes.map((shape, i) => uniform(tf.util.sizeFromShape(shape), 100 * t + i));
}

for (const decayConvention of ["tfa", "keras"] as const) {
  forEachBackend(`${decayConvention}: five updates as float64 loops do them`, async () => {
    const config = {
      learningRate: 0.01,
      weightDecay: decayConvention === "tfa" ? 0.02 : 2,
      decayConvention,
      decayExclude: ["bias", "norm"],
      beta1: 0.8,
      beta2: 0.99,
      epsilon: 1e-5,
    };
    const optimizer = new AdamW(config);
    const variables = makeVariables();
    const expected = shapes.map((shape, i) =>
      Float64Array.from(uniform(tf.util.sizeFromShape(shape), i))
    );
    const m = expected.map(({ length }) => new Float64Array(length));
    const v = expected.map(({ length }) => new Float64Array(length));
    for (let t = 1; t <= 5; t++) {
      // The rate may change between updates, as a schedule does.
      const rate = t < 4 ? 0.01 : 0.005;
      optimizer.learningRate = rate;
      const gradients = gradientsAt(t);
      apply(optimizer, variables, gradients);
      const alpha = rate * Math.sqrt(1 - 0.99 ** t) / (1 - 0.8 ** t);
      expected.forEach((x, k) => {
        const decay = k > 0 ? 0 : decayConvention === "tfa" ? 0.02 : rate * 2;
        for (let i = 0; i < x.length; i++) {
          const g = gradients[k]![i]!;
          m[k]![i] = 0.8 * m[k]![i]! + 0.2 * g;
          v[k]![i] = 0.99 * v[k]![i]! + 0.01 * g * g;
          x[i] = x[i]! - decay * x[i]!;
          x[i] = x[i]! - alpha * m[k]![i]! / (Math.sqrt(v[k]![i]!) + 1e-5);
        }
      });
    }
    assertEquals([optimizer.step, optimizer.iterations], [5, 5]);
    const read = await optimizer.readMoments(variables);
    for (const [k, each] of variables.entries()) {
      (await valuesOf(each)).forEach((x, i) => {
        assertAlmostEquals(x, expected[k]![i]!, 2e-6, `${each.name}[${i}]`);
      });
      const moments = read.get(each.name)!;
      moments.m.forEach((x, i) => assertAlmostEquals(x, m[k]![i]!, 1e-6));
      moments.v.forEach((x, i) => assertAlmostEquals(x, v[k]![i]!, 1e-6));
    }
    optimizer.dispose();
    tf.dispose(variables);
  });
}

forEachBackend("the defaults are those of keras-cifar100", () => {
  const optimizer = new AdamW();
  assertEquals(optimizer.getConfig(), {
    learningRate: 1e-3,
    weightDecay: 1e-4,
    decayConvention: "tfa",
    decayExclude: [],
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-7,
    clipNorm: 0,
  });
}, { backends: ["cpu"] });

forEachBackend("it is rebuilt from its configuration through tf.serialization", () => {
  const config: Required<AdamWConfig> = {
    learningRate: 0.1,
    weightDecay: 0.2,
    decayConvention: "keras",
    decayExclude: ["bias", "position_embedding", "100%"],
    beta1: 0.3,
    beta2: 0.4,
    epsilon: 0.5,
    clipNorm: 0.6,
    skipNonFinite: true,
  };
  const optimizer = new AdamW(config);
  const [cls, fromConfig] = tf.serialization.SerializationMap.getMap().classNameMap.VitAdamW!;
  const stored = JSON.parse(JSON.stringify(optimizer.getConfig()));
  const twin = fromConfig(cls, stored) as AdamW;
  assert(twin instanceof AdamW);
  assertEquals(twin.getConfig(), optimizer.getConfig());
  assertEquals({ ...twin.getConfig(), decayExclude: twin.decayExclude }, { ...config });
}, { backends: ["cpu"] });

/** Two updates, the state handed over by `hand`, two more: as four without a break. */
async function assertGoesOn(
  hand: (from: AdamW, to: AdamW, variables: tf.Variable[]) => Promise<void>,
): Promise<void> {
  const [straight, first, second] = [new AdamW(), new AdamW(), new AdamW()];
  const [reference, variables] = [makeVariables(), makeVariables()];
  for (let t = 1; t <= 4; t++) apply(straight, reference, gradientsAt(t));
  for (let t = 1; t <= 2; t++) apply(first, variables, gradientsAt(t));
  // What the second knows beforehand must not matter.
  const others = makeVariables();
  apply(second, others, gradientsAt(9));
  await hand(first, second, variables);
  first.dispose();
  assertEquals(second.step, 2);
  for (let t = 3; t <= 4; t++) apply(second, variables, gradientsAt(t));
  for (const [i, each] of variables.entries()) {
    assertEquals(await valuesOf(each), await valuesOf(reference[i]!), each.name);
  }
  for (const optimizer of [straight, second]) optimizer.dispose();
  tf.dispose([reference, variables, others]);
}

forEachBackend("getWeights and setWeights hand the state over", async () => {
  await assertGoesOn(async (from, to) => {
    const weights = await from.getWeights();
    assertEquals(weights.map(({ tensor }) => tensor.shape), [[], ...shapes, ...shapes]);
    await to.setWeights(weights);
    // Also before the next update, when the variables are not known yet.
    const again = await to.getWeights();
    assertEquals(again.map(({ name }) => name), weights.map(({ name }) => name));
    for (const [i, { tensor }] of again.entries()) {
      assertEquals(await valuesOf(tensor), await valuesOf(weights[i]!.tensor));
    }
    tf.dispose([weights[0]!.tensor, again[0]!.tensor]);
  });
});

forEachBackend("setWeights of another model is an error at the next update", async () => {
  const [optimizer, other] = [new AdamW(), new AdamW()];
  const variables = makeVariables();
  const wrong = variable(new Float32Array(7), [7]);
  apply(optimizer, variables, gradientsAt(1));
  const weights = await optimizer.getWeights();
  await other.setWeights(weights);
  assertThrows(
    () => apply(other, [wrong], [new Float32Array(7)]),
    Error,
    `[3,4] came where ${wrong.name} needs [7]`,
  );
  await assertRejects(() => other.setWeights([]));
  optimizer.dispose();
  other.dispose();
  tf.dispose([variables, wrong, weights[0]!.tensor]);
}, { backends: ["cpu"], allowTensorLeak: true });

forEachBackend("restore hands the state over, and its arrays stay as they are", async () => {
  const kept: [Float32Array, Float32Array][] = [];
  await assertGoesOn(async (from, to, variables) => {
    const values = await from.readMoments(variables);
    for (const { m, v } of values.values()) kept.push([m, m.slice()], [v, v.slice()]);
    to.restore(2, values);
    assertEquals(await to.readMoments(variables), values, "before the next update");
  });
  for (const [array, copy] of kept) assertEquals(array, copy);
});

forEachBackend("restore forgets the moments that it is not given", async () => {
  const optimizer = new AdamW();
  const variables = makeVariables();
  apply(optimizer, variables, gradientsAt(1));
  optimizer.restore(0, new Map());
  assertEquals(optimizer.step, 0);
  const { m, v } = (await optimizer.readMoments(variables)).get(variables[0]!.name)!;
  assertEquals([...m, ...v], Array(24).fill(0));
  optimizer.dispose();
  tf.dispose(variables);
});

forEachBackend("no tensor and no byte more after the first update", () => {
  const optimizer = new AdamW();
  const variables = makeVariables();
  const counts: unknown[] = [];
  for (let t = 1; t <= 5; t++) {
    apply(optimizer, variables, gradientsAt(t));
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    counts.push([numTensors, numDataBuffers, numBytes]);
  }
  assertEquals(counts.slice(1), Array(4).fill(counts[0]));
  optimizer.dispose();
  tf.dispose(variables);
});

forEachBackend(
  "an update leaves clones, source arrays and what was read as they were",
  async () => {
    const source = uniform(12, 0);
    const original = source.slice();
    const each = variable(source, [3, 4]);
    const optimizer = new AdamW();
    const update = () => apply(optimizer, [each], [uniform(12, 5)]);
    const early = tf.tidy(() => each.clone().reshape([12]));
    update();
    assertEquals(source, original, "the array that the variable was made of");
    assertEquals(await valuesOf(early), original, "a reshape taken before the first update");

    // Between updates the variable's data is the optimizer's own; a new clone must be noticed.
    const late = each.clone();
    const read = await each.data<"float32">();
    const moment = (await optimizer.readMoments([each])).get(each.name)!.m;
    const [readThen, momentThen] = [read.slice(), moment.slice()];
    update();
    assertEquals(await valuesOf(late), readThen, "a clone taken between updates");
    assertEquals(read, readThen, "an array that was read between updates");
    assertEquals(moment, momentThen, "a moment that was read between updates");

    // The owner may give the variable new data at any time.
    const assigned = tf.tensor(original, [3, 4]);
    each.assign(assigned);
    update();
    assertEquals(await valuesOf(assigned), original, "a tensor that was assigned");
    assert((await valuesOf(each)).some((x, i) => x !== original[i]), "nothing was updated");
    tf.dispose([each, early, late, assigned]);
    optimizer.dispose();
  },
);

forEachBackend("clipNorm scales the gradients to it by the norm of all, never up", async () => {
  for (const clipNorm of [0.5, 100]) {
    const [clipping, plain] = [new AdamW({ clipNorm }), new AdamW()];
    const [clipped, reference] = [makeVariables(), makeVariables()];
    for (let t = 1; t <= 2; t++) {
      // Of unequal norm, so that the scale matters to what Adam remembers.
      const gradients = gradientsAt(t).map((each) => each.map((g) => g * t));
      const norm = Math.hypot(...gradients.flatMap((each) => [...each]));
      const scale = Math.min(1, clipNorm / norm);
      apply(clipping, clipped, gradients);
      apply(plain, reference, gradients.map((each) => each.map((g) => g * scale)));
    }
    const [found, expected] = [
      await clipping.readMoments(clipped),
      await plain.readMoments(reference),
    ];
    for (const [i, each] of clipped.entries()) {
      const wanted = await valuesOf(reference[i]!);
      (await valuesOf(each)).forEach((x, k) => assertAlmostEquals(x, wanted[k]!, 1e-6));
      const moments = expected.get(reference[i]!.name)!;
      found.get(each.name)!.m.forEach((m, k) => assertAlmostEquals(m, moments.m[k]!, 1e-7));
    }
    for (const optimizer of [clipping, plain]) optimizer.dispose();
    tf.dispose([clipped, reference]);
  }
});

forEachBackend(
  "variables that come later, or not at every update, keep moments of their own",
  async () => {
    const optimizer = new AdamW();
    const variables = makeVariables();
    const given = (t: number, chosen: number[]) => ({
      variables: chosen.map((i) => variables[i]!),
      gradients: chosen.map((i) => gradientsAt(t)[i]!),
    });
    for (const [t, chosen] of [[1, [1]], [2, [0, 1, 2]], [3, [2, 0]]] as [number, number[]][]) {
      const { variables, gradients } = given(t, chosen);
      apply(optimizer, variables, gradients);
    }
    const moments = await optimizer.readMoments(variables);
    const seen = [[2, 3], [1, 2], [2, 3]];
    variables.forEach(({ name, size }, i) => {
      const expected = new Float64Array(size);
      for (const t of seen[i]!) {
        gradientsAt(t)[i]!.forEach((g, n) => expected[n] = 0.9 * expected[n]! + 0.1 * g);
      }
      moments.get(name)!.m.forEach((x, n) => assertAlmostEquals(x, expected[n]!, 1e-7, name));
    });
    optimizer.dispose();
    tf.dispose(variables);
  },
);

forEachBackend("minimize works, and a variable without gradient stays as it is", async () => {
  const optimizer = new AdamW({ learningRate: 0.1, weightDecay: 0 });
  const x = variable(Float32Array.of(1, -2, 3), [3]);
  const idle = variable(Float32Array.of(5), [1]);
  for (let i = 0; i < 3; i++) {
    const loss = optimizer.minimize(() => x.square().sum() as tf.Scalar, true, [x])!;
    loss.dispose();
  }
  const values = await valuesOf(x);
  [0.7, -1.7, 2.7].forEach((near, i) => assertAlmostEquals(values[i]!, near, 0.02));
  assertEquals([...await valuesOf(idle)], [5]);
  optimizer.dispose();
  tf.dispose([x, idle]);
});

forEachBackend("a gradient of an unknown variable is an error that names it", () => {
  const optimizer = new AdamW();
  tf.tidy(() => {
    const gradients = [{ name: "nobody", tensor: tf.ones([1]) }];
    assertThrows(() => optimizer.applyGradients(gradients), Error, '"nobody"');
  });
  assertEquals(optimizer.step, 0);
}, { backends: ["cpu"] });

forEachBackend(
  "skipNonFinite leaves out an update with one bad number, and only that",
  async () => {
    for (const clipNorm of [0, 0.5]) {
      for (const bad of [NaN, Infinity, -Infinity, 1e30]) {
        const [skipping, plain] = [
          new AdamW({ clipNorm, skipNonFinite: true }),
          new AdamW({ clipNorm }),
        ];
        const [skipped, expected] = [makeVariables(), makeVariables()];
        for (const t of [1, 2, 3, 4]) {
          const gradients = gradientsAt(t);
          if (t === 3) {
            gradients[1]![2] = bad;
            // Its step counts, for the bias correction; variables and moments stay.
            apply(skipping, skipped, gradients);
            plain.restore(3, await plain.readMoments(expected));
          } else {
            apply(skipping, skipped, gradients);
            apply(plain, expected, gradients);
          }
        }
        for (const [i, variable] of skipped.entries()) {
          assertEquals(await valuesOf(variable), await valuesOf(expected[i]!));
        }
        const [left, right] = [
          await skipping.readMoments(skipped),
          await plain.readMoments(expected),
        ];
        assertEquals([...left.values()], [...right.values()]);
        assertEquals([await skipping.readSkipped(), await plain.readSkipped()], [1, 0]);
        tf.dispose([...skipped, ...expected]);
        for (const optimizer of [skipping, plain]) optimizer.dispose();
      }
    }
  },
);

for (const decayConvention of ["tfa", "keras"] as const) {
  forEachBackend(
    `${decayConvention}: factors of the rate, of the decay too where it follows the rate`,
    async () => {
      const config = {
        ...{
          learningRate: 0.01,
          weightDecay: decayConvention === "tfa" ? 0.02 : 2,
          decayConvention,
        },
        ...{ decayExclude: ["bias"], beta1: 0.8, beta2: 0.99, epsilon: 1e-5 },
      };
      const variables = makeVariables();
      const plain = makeVariables();
      const factors = [0.5, 10, 1];
      const scaled = new AdamW(config);
      scaled.scaleRates(new Map(variables.map(({ name }, i) => [name, factors[i]!])));
      apply(scaled, variables, gradientsAt(1));
      const others = factors.map((factor) =>
        new AdamW({
          ...config,
          learningRate: 0.01 * factor,
        })
      );
      for (const [i, optimizer] of others.entries()) {
        apply(optimizer, [plain[i]!], [gradientsAt(1)[i]!]);
        const [found, wanted] = [await valuesOf(variables[i]!), await valuesOf(plain[i]!)];
        found.forEach((value, k) => assertAlmostEquals(value, wanted[k]!, 1e-6));
      }
      for (const each of [scaled, ...others, ...variables, ...plain]) each.dispose();
    },
  );
}
