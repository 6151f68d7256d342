/** What every layer of ours owes to tfjs: a configuration that rebuilds it, and shapes that it keeps. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { ClassToken } from "../../lib/layers/class_token.ts";
import { ConvTokenizer } from "../../lib/layers/conv_tokenizer.ts";
import { Dense } from "../../lib/layers/dense.ts";
import { Dropout } from "../../lib/layers/dropout.ts";
import { LayerNormalization } from "../../lib/layers/layer_normalization.ts";
import { Mlp } from "../../lib/layers/mlp.ts";
import { MultiHeadAttention } from "../../lib/layers/multi_head_attention.ts";
import { PatchEncoder } from "../../lib/layers/patch_encoder.ts";
import { Patches } from "../../lib/layers/patches.ts";
import { SequencePooling } from "../../lib/layers/sequence_pooling.ts";
import { ShiftedPatches } from "../../lib/layers/shifted_patches.ts";
import { TokenEncoder } from "../../lib/layers/token_encoder.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";

type Layer = tf.layers.Layer;
type Constructor = tf.serialization.SerializableConstructor<Layer>;

/** Each layer with an input, every field off its default. */
const cases: { layer: () => Layer; input: number[]; output: number[] }[] = [
  {
    layer: () => new Patches({ name: "a", patchSize: 2 }),
    input: [2, 4, 4, 3],
    output: [2, 4, 12],
  },
  {
    layer: () => new PatchEncoder({ name: "b", seed: 3, projectionDim: 8, classToken: true }),
    input: [2, 4, 12],
    output: [2, 5, 8],
  },
  {
    layer: () => new PatchEncoder({ name: "c", seed: 3, projectionDim: 8 }),
    input: [2, 4, 12],
    output: [2, 4, 8],
  },
  {
    layer: () =>
      new MultiHeadAttention({ name: "d", seed: 4, numHeads: 2, keyDim: 4, dropoutRate: 0.3 }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  {
    layer: () => new Mlp({ name: "e", seed: 5, units: [16, 8], dropoutRate: 0.2 }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  {
    layer: () => new LayerNormalization({ name: "f", epsilon: 1e-3 }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  { layer: () => new Dropout({ name: "g", seed: 6, rate: 0.4 }), input: [2, 8], output: [2, 8] },
  { layer: () => new Dense({ name: "h", seed: 7, units: 100 }), input: [2, 12], output: [2, 100] },
  {
    layer: () => new ConvTokenizer({ name: "j", seed: 8, filters: [5, 8] }),
    input: [2, 7, 7, 3],
    output: [2, 4, 8],
  },
  {
    layer: () =>
      new TokenEncoder({ name: "k", seed: 9, classToken: true, positionEmbedding: "sincos2d" }),
    input: [2, 4, 8],
    output: [2, 5, 8],
  },
  {
    layer: () => new TokenEncoder({ name: "l", positionEmbedding: "none" }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  {
    layer: () => new PatchEncoder({ name: "m", projectionDim: 8, initializer: "truncatedNormal" }),
    input: [2, 4, 12],
    output: [2, 4, 8],
  },
  {
    layer: () => new Mlp({ name: "n", seed: 5, units: [16, 8], lastActivation: false }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  {
    layer: () => new SequencePooling({ name: "o", seed: 5 }),
    input: [2, 4, 8],
    output: [2, 8],
  },
  {
    layer: () => new ShiftedPatches({ name: "p", patchSize: 2 }),
    input: [2, 4, 4, 3],
    output: [2, 4, 60],
  },
  {
    layer: () =>
      new MultiHeadAttention({
        ...{ name: "q", seed: 4, numHeads: 2, keyDim: 4, locality: true, layerScale: 0.1 },
      }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  {
    layer: () => new Mlp({ name: "r", seed: 5, units: [16, 8], layerScale: 1e-5 }),
    input: [2, 4, 8],
    output: [2, 4, 8],
  },
  { layer: () => new ClassToken({ name: "i" }), input: [2, 5, 8], output: [2, 8] },
];

forEachBackend("a layer is rebuilt from its configuration, with the same output", async () => {
  for (const { layer: make, input, output } of cases) {
    const layer = make();
    const cls = layer.constructor as unknown as Constructor;
    const name = layer.getClassName();
    // What a file would bring back.
    const config = JSON.parse(JSON.stringify(layer.getConfig()));
    const registered = tf.serialization.SerializationMap.getMap().classNameMap[name]!;
    assertEquals(registered[0] as unknown, cls, `${name} is not registered`);
    const twin = registered[1](registered[0], config) as Layer;
    assert(twin instanceof cls, name);
    assertEquals(twin.getConfig(), layer.getConfig(), name);

    const x = randomTensor(input);
    const [y, again] = tf.tidy(() => [layer, twin].map((each) => each.apply(x) as tf.Tensor));
    assertEquals(y!.shape, output, name);
    assertEquals(layer.computeOutputShape(input), output, name);
    assertEquals(layer.computeOutputShape([null, ...input.slice(1)]), [null, ...output.slice(1)]);
    assertEquals(await valuesOf(again!), await valuesOf(y!), name);
    assertEquals(twin.countParams(), layer.countParams(), name);
    tf.dispose([x, y!, again!]);
    layer.dispose();
    twin.dispose();
  }
});

forEachBackend("a residual given as second input is added", async () => {
  for (const { layer: make, input } of cases.slice(3, 5)) {
    const layer = make();
    const [x, residual] = [randomTensor(input, 1), randomTensor(input, 2)];
    const [plain, added] = tf.tidy(() => {
      // The layer is built for one form; both are the same computation.
      const y = layer.apply([x, residual]) as tf.Tensor;
      return [layer.call(x, {}) as tf.Tensor, y];
    });
    const [values, sums, added2] = [
      await valuesOf(plain),
      await valuesOf(added),
      await valuesOf(residual),
    ];
    const worst = values.reduce(
      (most, value, i) => Math.max(most, Math.abs(value + added2[i]! - sums[i]!)),
      0,
    );
    assert(worst < 1e-6, `${layer.getClassName()}: ${worst}`);
    tf.dispose([x, residual, plain, added]);
    layer.dispose();
  }
});

forEachBackend("a normalization passes its input on, and is rebuilt to do so", async () => {
  const layer = new LayerNormalization({ name: "j", epsilon: 1e-3, residual: true });
  const config = JSON.parse(JSON.stringify(layer.getConfig()));
  const twin = new LayerNormalization(config);
  assertEquals(twin.getConfig(), layer.getConfig());
  assertEquals(layer.computeOutputShape([null, 4, 8]), [[null, 4, 8], [null, 4, 8]]);
  const plain = new LayerNormalization({ name: "j", epsilon: 1e-3 });
  const x = randomTensor([2, 4, 8]);
  const [normed, residual, expected] = tf.tidy(() => [
    ...twin.apply(x) as tf.Tensor[],
    plain.apply(x) as tf.Tensor,
  ]);
  assertEquals(await valuesOf(normed!), await valuesOf(expected!));
  assertEquals(await valuesOf(residual!), await valuesOf(x));
  tf.dispose([x, normed!, residual!, expected!]);
  for (const each of [twin, plain]) each.dispose();
});

forEachBackend(
  "a model computes a normalization with residual once, not once an output",
  async () => {
    const input = tf.input({ shape: [4, 8] });
    const layer = new LayerNormalization({ residual: true });
    const pair = layer.apply(input) as tf.SymbolicTensor[];
    const sum = tf.layers.add().apply(pair) as tf.SymbolicTensor;
    const model = tf.model({ inputs: input, outputs: sum });
    const x = randomTensor([2, 4, 8]);
    const options = { training: true };
    // Twice, because the second run must not be served what the first one made.
    for (let run = 0; run < 2; run++) {
      const outputs: tf.Tensor[] = [];
      const { kernels } = await tf.profile(() => {
        outputs.push(tf.tidy(() => model.apply(x, options) as tf.Tensor));
        return outputs[0]!;
      });
      assertEquals(kernels.filter(({ name }) => name === "VitLayerNorm").length, 1);
      tf.dispose(outputs);
    }
    x.dispose();
    model.dispose();
  },
  { backends: ["cpu"] },
);

forEachBackend("dropout is off outside training, and its rate 0 is the identity", async () => {
  const x = randomTensor([2, 4, 8]);
  for (const { layer: make } of cases.slice(3, 5)) {
    const layer = make();
    const kwargs = [{}, { training: false }, { training: true }];
    const [a, b, c] = tf.tidy(() => kwargs.map((each) => layer.apply(x, each) as tf.Tensor));
    const name = layer.getClassName();
    assertEquals(await valuesOf(b!), await valuesOf(a!), name);
    assertNotEquals(await valuesOf(c!), await valuesOf(a!), name);
    tf.dispose([a!, b!, c!]);
    layer.dispose();
  }
  const dropout = new Dropout({ rate: 0 });
  const y = tf.tidy(() => dropout.apply(x, { training: true }) as tf.Tensor);
  assertEquals(await valuesOf(y), await valuesOf(x));
  tf.dispose([x, y]);
  dropout.dispose();
});
