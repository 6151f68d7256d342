// A layer of your own among those of deno-vit: it scales each channel by a learned gate.
// deno run --allow-read examples/own_layer.ts
import { createShapes, Dense, DeviceDataset, fit, LayerNormalization, Mlp } from "../mod.ts";
import { MultiHeadAttention, PatchEncoder, Patches, preset } from "../mod.ts";
import { selectBackend, tf, VitLayer } from "../mod.ts";

class Gate extends VitLayer {
  static readonly className = "Gate"; // its name in stored models
  private gate!: tf.LayerVariable;

  override build(shape: tf.Shape): void {
    this.gate = this.constantWeight("gate", [shape.at(-1)!], 0);
    super.build(shape);
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => [inputs].flat()[0]!.mul(tf.sigmoid(this.gate.read())));
  }
}
tf.serialization.registerClass(Gate);

await selectBackend("auto");
const images = tf.input({ shape: [32, 32, 3] });
const apply = (layer: tf.layers.Layer, x: unknown) => layer.apply(x as tf.SymbolicTensor);
const patches = apply(new Patches({ patchSize: 8 }), images);
const tokens = apply(new PatchEncoder({ projectionDim: 32 }), patches);
const branch = apply(new LayerNormalization({ residual: true }), tokens);
const attended = apply(new MultiHeadAttention({ numHeads: 2, keyDim: 16 }), branch);
const gated = apply(new Gate({}), apply(new Mlp({ units: [64, 32] }), attended));
const pooled = apply(tf.layers.globalAveragePooling1d({}), gated);
const logits = apply(new Dense({ units: 100 }), pooled) as tf.SymbolicTensor;
const model = tf.model({ inputs: images, outputs: logits });

const config = { ...preset("tiny"), batchSize: 32, epochs: 1 };
using data = new DeviceDataset(createShapes({ train: 320, test: 10 }), config);
const { history } = await fit({ config, model, data });
console.log(`${model.countParams()} parameters, loss ${history[0]!.loss.toFixed(2)}`);
