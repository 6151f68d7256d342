import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { encodeSafetensors, readSafetensorsFile } from "../lib/checkpoint/safetensors.ts";
import type { SafetensorsFile, TensorData } from "../lib/checkpoint/safetensors.ts";
import { UserError } from "../lib/errors.ts";
import { forEachBackend } from "./backends.ts";
import { inFolder } from "./checkpoint/folder.ts";
import { unlessThere } from "./gpu_features.ts";
import { failures, parityErrors } from "./parity.ts";
import { assertRefused, runTask } from "./tasks/run_task.ts";

const pathOf = (name: string) => new URL(`golden/${name}.safetensors`, import.meta.url).pathname;

for (const name of ["small-flatten", "small-mean"]) {
  forEachBackend(`${name}.safetensors agrees with float64 reference values`, async () => {
    const errors = await parityErrors(pathOf(name));
    assertEquals(failures(errors), []);
    // Tokens, logits, loss, and for every parameter a gradient and two results of AdamW.
    const parameters = errors.filter((error) => error.name.startsWith("grad.")).length;
    assertEquals(errors.length, 3 + 3 * parameters);
  });
}

for (const name of ["small-flatten", "small-mean"]) {
  forEachBackend(`${name}.safetensors agrees with them in f16, within its tolerances`, async () => {
    const errors = await parityErrors(pathOf(name), { precision: "f16" });
    assertEquals(failures(errors), []);
    const [f32] = (await parityErrors(pathOf(name))).filter(({ name }) => name === "output.logits");
    const [f16] = errors.filter(({ name }) => name === "output.logits");
    assert(f16!.relative > 4 * f32!.relative, "that was no f16");
  }, { backends: ["webgpu"], lacks: unlessThere("shader-f16") });
}

forEachBackend("compact.safetensors agrees with reference values", async () => {
  const errors = await parityErrors(pathOf("recipe/compact"));
  assertEquals(failures(errors), []);
  // Tokenizer, tokens, logits, those of stochastic depth, loss, and for every parameter a gradient.
  const parameters = errors.filter((error) => error.name.startsWith("grad.")).length;
  assertEquals([errors.length, parameters], [5 + 41, 41]);
  assertEquals(errors.filter(({ name }) => name === "output.logits_drop_path_0.25").length, 1);
});

/** Writes small-mean.safetensors with a change. */
async function changed(path: string, change: (file: SafetensorsFile) => void): Promise<void> {
  const file = await readSafetensorsFile(pathOf("small-mean"));
  change(file);
  await Deno.writeFile(path, encodeSafetensors(file.tensors, file.metadata));
}

const put = (name: string, tensor: TensorData) => ({ tensors }: SafetensorsFile) =>
  void tensors.set(name, tensor);
const config = (json: string) => ({ metadata }: SafetensorsFile) => void (metadata.config = json);
const f32 = (...values: number[]): TensorData => ({
  dtype: "F32",
  shape: [values.length],
  data: Float32Array.from(values),
});

/** A change of a good file, and what its refusal must say. */
const unusable: Record<string, [(file: SafetensorsFile) => void, message: string]> = {
  "no reference output": [
    ({ tensors }) => {
      for (const name of tensors.keys()) if (!/^(input|param)\./.test(name)) tensors.delete(name);
    },
    "nothing to compare",
  ],
  "no configuration": [({ metadata }) => void delete metadata.config, 'no "config"'],
  "a configuration that is no JSON": [config("{"), "is no JSON"],
  "a configuration that is null": [config("null"), "imageSize"],
  "a configuration that is a number": [config("7"), "imageSize"],
  "a configuration without a patchSize": [
    ({ metadata }) => void (metadata.config = metadata.config!.replace("patchSize", "patchsize")),
    "patchsize",
  ],
  "a thousand million blocks": [
    ({ metadata }) =>
      void (metadata.config = metadata.config!.replace(
        '"transformerLayers": 3',
        '"transformerLayers": 1000000000',
      )),
    "transformerLayers",
  ],
  "a label that is no class": [put("input.labels", f32(0, 7, 1)), "holds 7, which is not a class"],
  "a negative label": [put("input.labels", f32(0, -1, 1)), "holds -1"],
  "half a label": [put("input.labels", f32(0, 0.5, 1)), "holds 0.5"],
  "labels of 64 bits": [
    put("input.labels", { dtype: "I64", shape: [3], data: new BigInt64Array(3) }),
    "input.labels is I64",
  ],
  "no images": [({ tensors }) => void tensors.delete("input.images"), "no tensor input.images"],
  "fewer images than labels": [
    put("input.images", { dtype: "F32", shape: [2, 32, 32, 3], data: new Float32Array(6144) }),
    "input.images has the shape [2,32,32,3]",
  ],
  "output of another shape": [put("output.logits", f32(1, 2)), "output.logits has the shape [2]"],
  "output in F64": [
    put("output.loss", { dtype: "F64", shape: [], data: new Float64Array(1) }),
    "output.loss is F64",
  ],
  "output that is NaN": [
    put("output.loss", { dtype: "F32", shape: [], data: Float32Array.of(NaN) }),
    "holds NaN",
  ],
  "a weight too few": [({ tensors }) => void tensors.delete("param.norm.beta"), "param.norm.beta"],
  "a tensor that is none of the model's": [put("grad.other", f32(1)), 'tensor "grad.other"'],
};
for (const [name, [change, message]] of Object.entries(unusable)) {
  Deno.test(`a file of reference values is refused with ${name}`, () =>
    inFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await changed(path, change);
      const error = await assertRejects(() => parityErrors(path), UserError, message);
      assertStringIncludes(error.message, path);
    }));
}

Deno.test("parity ends with 0 where all agrees, 1 above tolerance, 2 where nothing is compared", () =>
  inFolder(async (folder) => {
    const parity = (path: string) => runTask("parity", [path, "--backend", "cpu"]);
    assertEquals((await parity(pathOf("small-mean"))).code, 0);
    const path = `${folder}/a.safetensors`;
    await changed(path, ({ tensors }) => {
      const { data } = tensors.get("output.logits")!;
      data[0] = Number(data[0]) + 1;
    });
    const above = await parity(path);
    assertEquals(above.code, 1, above.stderr);
    assertStringIncludes(above.stdout, "ABOVE");
    await changed(path, unusable["no reference output"]![0]);
    assertRefused(await parity(path), "nothing to compare");
    assertRefused(await parity("README.md"), "README.md is not a valid safetensors file");
    assertRefused(await parity(folder), "holds no model.safetensors");
    assertRefused(await parity(`${folder}/none`), "no such file");
  }));

forEachBackend(
  "recipe.safetensors agrees: schedules, softened losses and their gradients, EMA",
  async () => {
    const errors = await parityErrors(pathOf("recipe/recipe"));
    assertEquals(failures(errors), []);
    assertEquals(errors.map(({ name }) => name.slice(0, name.indexOf("."))), [
      ...["schedule", "schedule", "schedule"],
      ...["loss", "grad", "loss", "grad", "loss", "grad", "ema"],
    ]);
  },
);

Deno.test("a recipe's file is told by its tensors; a wrong number is above tolerance, a wrong tensor refused", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    const write = async (change: (file: SafetensorsFile) => void) => {
      const file = await readSafetensorsFile(pathOf("recipe/recipe"));
      change(file);
      await Deno.writeFile(path, encodeSafetensors(file.tensors, file.metadata));
      return await runTask("parity", [path, "--backend", "cpu"]);
    };
    const whole = await write(() => {});
    assertEquals(whole.code, 0, whole.stderr);
    for (const group of ["schedule", "loss", "grad", "ema"]) {
      assertStringIncludes(whole.stdout, group);
    }
    for (
      const [name, error] of [
        ["cosine_warmup", 2e-9],
        ["grad.mixed_0.37", 2e-5],
        ["loss.label_smoothing_0.1", 2e-5],
        ["ema.after", 2e-6],
      ] as const
    ) {
      const { code, stdout } = await write(({ tensors }) => {
        const { data } = tensors.get(name)!;
        data[0] = Number(data[0]) + error;
      });
      assertEquals(code, 1, name);
      assertStringIncludes(stdout, "ABOVE");
    }
    assertRefused(await write(put("loss.focal", f32(1))), "a loss of no known kind");
    assertRefused(await write(put("grad.other", f32(1))), 'a tensor "grad.other"');
    assertRefused(await write(put("ema.after", f32(1))), "ema.after has the shape [1], not [9]");
    assertRefused(
      await write(({ tensors }) => void tensors.delete("loss.labels")),
      "no tensor loss.labels",
    );
  }));

const operations = "recipe/image-operations";

forEachBackend("image-operations.safetensors agrees with torchvision", async () => {
  const errors = await parityErrors(pathOf(operations));
  assertEquals(failures(errors), []);
  assertEquals(new Set(errors.map(({ name }) => name.split(".")[0])).size, 14);
});

/** The first two images of image-operations.safetensors after `color` and `invert`, with a change. */
async function changedOperations(
  path: string,
  change: (tensors: Map<string, TensorData>) => void,
): Promise<void> {
  const file = await readSafetensorsFile(pathOf(operations));
  const names = ["input.images", "color.0.1", "invert"];
  const tensors = new Map<string, TensorData>(names.map((name) => {
    const data = (file.tensors.get(name)!.data as Float32Array).slice(0, 2 * 3072);
    return [name, { dtype: "F32", shape: [2, 32, 32, 3], data }];
  }));
  change(tensors);
  await Deno.writeFile(path, encodeSafetensors(tensors, {}));
}

forEachBackend(
  "operations may be a level off, more on 1 % of the values",
  () =>
    inFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      const failed = async (wrong: number, by: number) => {
        await changedOperations(path, (tensors) => {
          const data = tensors.get("invert")!.data as Float32Array;
          for (let i = 0; i < wrong; i++) data[i] = data[i]! + by;
        });
        return failures(await parityErrors(path)).map(({ name }) => name);
      };
      assertEquals(await failed(61, 9), []);
      assertEquals(await failed(62, 9), ["invert"]);
      // A third of the values a level off is 0.33 on average.
      assertEquals(await failed(1800, 1), []);
      assertEquals(await failed(2048, 1), ["invert"]);
    }),
  { backends: ["cpu"] },
);

const unusableOperations: Record<string, [name: string, tensor: TensorData, message: string]> = {
  "an unknown operation": ["sepia.0.5", f32(1), 'a tensor "sepia.0.5"'],
  "a factor missing": ["color", f32(1), "an operation without magnitude"],
  "a factor too many": ["invert.2", f32(1), "an operation with magnitude"],
  "another shape": ["invert", f32(1), "invert has the shape [1], not [2,32,32,3]"],
  "images that are no images": ["input.images", f32(1), "input.images has the shape [1]"],
  "a level above 255": [
    "input.images",
    { dtype: "F32", shape: [1, 1, 1, 1], data: Float32Array.of(256) },
    "holds 256, which is not 0 to 255",
  ],
};
for (const [fault, [name, tensor, message]] of Object.entries(unusableOperations)) {
  forEachBackend(`a file of operations is refused with ${fault}`, () =>
    inFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await changedOperations(path, (tensors) => void tensors.set(name, tensor));
      await assertRejects(() => parityErrors(path), UserError, message);
    }), { backends: ["cpu"] });
}
