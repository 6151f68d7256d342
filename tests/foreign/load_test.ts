/** Models of timm, Hugging Face and torchvision agree with float64 values of the genuine libraries. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encodeSafetensors, readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import type { SafetensorsFile, TensorData } from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import { decodeHalf } from "../../lib/foreign/half.ts";
import { findForeign, loadForeign } from "../../lib/foreign/load.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { failures, parityErrors } from "../parity.ts";
import { assertRefused, runTask } from "../tasks/run_task.ts";
import { goldenFolder, goldenLayouts, type GoldenName, writeChanged } from "./golden.ts";

const folders = Object.keys(goldenLayouts) as GoldenName[];
const load = async (path: string) => await loadForeign((await findForeign(path))!);

for (const name of folders) {
  forEachBackend(`${name}: logits of three image sizes agree with float64`, async () => {
    const errors = await parityErrors(goldenFolder(name));
    assertEquals(errors.map(({ name }) => name), [
      ...["output.logits", "output.larger", "output.smaller"],
    ]);
    assertEquals(failures(errors), []);
  });
}

Deno.test("a folder's layout, sizes and preparation are found", async () => {
  const found = await Promise.all(folders.map((name) => load(goldenFolder(name))));
  const [timm, hf, torchvision, distilled] = found;
  assertEquals(found.map(({ layout }) => layout), Object.values(goldenLayouts));
  for (const { config } of found) {
    assertEquals([config.imageSize, config.patchSize, config.projectionDim], [32, 8, 48]);
    assertEquals([config.numHeads, config.transformerLayers], [3, 2]);
    assertEquals(config.transformerUnits, [192, 48]);
  }
  assertEquals(hf!.config.layerNormEpsilon, 1e-12);
  assertEquals(timm!.config.layerNormEpsilon, 1e-6);
  assertEquals(distilled!.config.distillation, "heads");
  assertEquals(hf!.classNames[9], "class 9");
  assertEquals(timm!.classNames, []);
  assertEquals(timm!.preparation.resample, "bicubic");
  assertEquals(timm!.preparation.cropShare, 0.9);
  assertEquals(hf!.preparation.fit, "squash");
  assertEquals(distilled!.preparation.channelMean, [0.485, 0.456, 0.406]);
  // Its files say nothing of heads.
  assertEquals([timm!.notices.length, torchvision!.notices.length], [0, 1]);
});

/** The upper half of a float32, and a float32 as half; both round to the nearest. */
function roundedTo(dtype: "F16" | "BF16", data: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(data.slice().buffer);
  return Uint16Array.from(data, (value, i) => {
    if (dtype === "BF16") return (words[i]! + 0x7fff + ((words[i]! >> 16) & 1)) >>> 16;
    const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
    const size = Math.abs(value);
    const exponent = Math.max(-14, Math.floor(Math.log2(size || 2 ** -30)));
    const units = Math.round(size / 2 ** (exponent - 10));
    // A carry goes into the exponent by itself.
    return sign + (exponent === -14 ? units : units - 1024 + ((exponent + 15) << 10));
  });
}

for (const [dtype, bits] of [["F16", 11], ["BF16", 8]] as const) {
  Deno.test(`${dtype} copies are read within their rounding`, () =>
    inFolder(async (folder) => {
      await writeChanged(folder, "timm", {
        model: ({ tensors }) => {
          for (const [name, { shape, data }] of tensors) {
            tensors.set(name, { dtype, shape, data: roundedTo(dtype, data as Float32Array) });
          }
        },
      });
      const [whole, half] = [await load(goldenFolder("timm")), await load(folder)];
      for (const [name, { data }] of whole.weights) {
        const rounded = half.weights.get(name)!.data;
        data.forEach((value, i) => {
          // Half a unit in the last place, or of the smallest numbers that are not normal.
          const allowed = Math.max(Math.abs(value) * 2 ** -bits, 2 ** -25);
          assert(Math.abs(rounded[i]! - value) <= allowed, `${name} ${i}`);
        });
      }
    }));
}

Deno.test("halves mean what IEEE 754 says", () => {
  const cases = [0x0000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x3555];
  const values = [0, 1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 0.333251953125];
  assertEquals([...decodeHalf(Uint16Array.from(cases), "F16")], values);
  assertEquals([...decodeHalf(Uint16Array.of(0x3f80, 0xc040, 0x0080), "BF16")], [
    ...[1, -3, 2 ** -126],
  ]);
  assert(Number.isNaN(decodeHalf(Uint16Array.of(0x7e00), "F16")[0]));
});

/** Renames the tensors of a file. */
const renamed = (rename: (name: string) => string) => ({ tensors }: SafetensorsFile) => {
  const entries = [...tensors];
  tensors.clear();
  for (const [name, tensor] of entries) tensors.set(rename(name), tensor);
};

Deno.test("other names of the same tensors are read: of transformers 5, of old torchvision, of a backbone", () =>
  inFolder(async (folder) => {
    const same = async (path: string, name: GoldenName) => {
      const [found, whole] = [await load(path), await load(goldenFolder(name))];
      for (const [key, { data }] of found.weights) assertEquals(data, whole.weights.get(key)!.data);
      return found;
    };
    await writeChanged(`${folder}/state`, "hf", {
      model: renamed((name) =>
        name.replace("encoder.layer.", "layers.")
          .replace(/attention\.attention\.(.)\w+/, "attention.$1_proj")
          .replace("attention.output.dense", "attention.o_proj")
          .replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2")
      ),
    });
    assertEquals((await same(`${folder}/state`, "hf")).weights.size, 40);
    await writeChanged(`${folder}/old`, "torchvision", {
      model: renamed((name) =>
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2")
      ),
    });
    assertEquals((await same(`${folder}/old`, "torchvision")).weights.size, 40);
    await writeChanged(`${folder}/backbone`, "hf", {
      model: (file) => {
        for (const end of ["weight", "bias"]) {
          file.tensors.delete(`classifier.${end}`);
          const pooler = { dtype: "F32", shape: [48], data: new Float32Array(48) } as const;
          file.tensors.set(`vit.pooler.dense.${end}`, pooler);
        }
        renamed((name) => name.replace("vit.", ""))(file);
      },
    });
    const backbone = await same(`${folder}/backbone`, "hf");
    assertEquals(backbone.weights.size, 38);
    assertEquals(backbone.classNames, []);
  }));

Deno.test("a model in shards with its index is read as one", () =>
  inFolder(async (folder) => {
    const file = await readSafetensorsFile(`${goldenFolder("hf")}/model.safetensors`);
    const shards = [new Map<string, TensorData>(), new Map<string, TensorData>()];
    const map: Record<string, string> = {};
    [...file.tensors].forEach(([name, tensor], i) => {
      shards[i % 2]!.set(name, tensor);
      map[name] = `model-0000${i % 2 + 1}-of-00002.safetensors`;
    });
    for (const [i, tensors] of shards.entries()) {
      const path = `${folder}/model-0000${i + 1}-of-00002.safetensors`;
      await Deno.writeFile(path, encodeSafetensors(tensors, { format: "pt" }));
    }
    await Deno.copyFile(`${goldenFolder("hf")}/config.json`, `${folder}/config.json`);
    const index = JSON.stringify({ metadata: { total_size: 1 }, weight_map: map });
    await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, index);
    const [found, whole] = [await load(folder), await load(goldenFolder("hf"))];
    assertEquals([...found.weights], [...whole.weights]);
  }));

Deno.test("what a configuration says beyond sizes is taken: GELU, no biases, mean, fc_norm, LayerScale", () =>
  inFolder(async (folder) => {
    await writeChanged(`${folder}/hf`, "hf", {
      model: ({ tensors }) => {
        for (const name of tensors.keys()) {
          if (/attention\.attention\.\w+\.bias$/.test(name)) tensors.delete(name);
        }
      },
      config: (config) => void Object.assign(config, { hidden_act: "gelu_new", qkv_bias: false }),
    });
    const { config: hf } = await load(`${folder}/hf`);
    assertEquals([hf.gelu, hf.qkvBias], ["tanh", false]);
    await writeChanged(`${folder}/timm`, "timm", {
      model: ({ tensors }) => {
        for (const end of ["weight", "bias"]) {
          tensors.set(`fc_norm.${end}`, tensors.get(`norm.${end}`)!);
          tensors.delete(`norm.${end}`);
        }
        for (const block of [0, 1]) {
          for (const scale of ["ls1", "ls2"]) {
            const factors = { dtype: "F32", shape: [48], data: new Float32Array(48).fill(0.1) };
            tensors.set(`blocks.${block}.${scale}.gamma`, factors as TensorData);
          }
        }
      },
      config: (config) => void Object.assign(config.model_args, { init_values: 0.1 }),
    });
    const { config: timm, weights } = await load(`${folder}/timm`);
    assertEquals([timm.pooling, timm.classToken, timm.finalNorm], ["mean", true, "pooled"]);
    assertEquals(timm.layerScale, 0.1);
    // All of it makes a model that computes.
    const model = createViTClassifier(timm, { given: weights });
    const logits = tf.tidy(() => model.apply(tf.ones([1, 32, 32, 3])) as tf.Tensor);
    assertEquals(logits.shape, [1, 10]);
    logits.dispose();
    model.dispose();
  }));

Deno.test("positions of the patches alone, as in DeiT III, leave the class token without one", () =>
  inFolder(async (folder) => {
    await writeChanged(folder, "timm", {
      model: ({ tensors }) => {
        const { data } = tensors.get("pos_embed")!;
        const patches = (data as Float32Array).slice(48);
        tensors.set("pos_embed", { dtype: "F32", shape: [1, 16, 48], data: patches });
      },
    });
    const { weights } = await load(folder);
    const { shape, data } = weights.get("patch_encoder.position_embedding")!;
    assertEquals(shape, [17, 48]);
    assertEquals(data.subarray(0, 48), new Float32Array(48));
    assert(data.subarray(48).some((value) => value !== 0));
  }));

Deno.test("pickled files are refused by name, with the line that converts them", () =>
  inFolder(async (folder) => {
    for (const name of ["model.pth", "vit.pt", "pytorch_model.bin", "x.ckpt"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "no pickle at all");
      const error = await assertRejects(() => findForeign(`${folder}/${name}`), UserError);
      assert(error.message.includes("python -c"), error.message);
    }
    await assertRejects(() => findForeign(folder), UserError, "is a pickled file");
  }));

Deno.test("deno task parity ends with 0 for a foreign model, 1 above tolerance, 2 where there is none", () =>
  inFolder(async (folder) => {
    const parity = (path: string) => runTask("parity", [path, "--backend", "cpu"]);
    const well = await parity(goldenFolder("torchvision"));
    assertEquals(well.code, 0, well.stderr);
    assert(well.stdout.includes("output.smaller"), well.stdout);
    await writeChanged(folder, "timm", {
      model: ({ tensors }) => {
        const { data } = tensors.get("head.bias")!;
        data[0] = Number(data[0]) + 1e-3;
      },
    });
    assertEquals((await parity(folder)).code, 1);
    assertRefused(await parity(`${folder}/..`), "holds no model.safetensors");
  }));
