/** Foreign files that nobody vouches for: each is refused in a sentence that names what is wrong. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  encodeSafetensors,
  readSafetensorsFile,
  type SafetensorsFile,
  type TensorData,
} from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import { loadInitialWeights } from "../../lib/train/initial_weights.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { type Changes, goldenFolder, type GoldenName, writeChanged } from "./golden.ts";

const f32 = (...shape: number[]): TensorData => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
});
const put = (name: string, tensor: TensorData) => ({ tensors }: SafetensorsFile) =>
  void tensors.set(name, tensor);
const drop = (...names: string[]) => ({ tensors }: SafetensorsFile) => {
  for (const name of names) tensors.delete(name);
};
// deno-lint-ignore no-explicit-any -- a test puts in what it likes
const assign = (values: object) => (config: any) => void Object.assign(config, values);

/** A change of a good model, and what its refusal must say. */
const hostile: [name: string, from: GoldenName, changes: Changes, text: string][] = [
  [
    "a tensor too few",
    "timm",
    { model: drop("blocks.1.attn.proj.bias") },
    '"blocks.1.attn.proj.bias" is missing',
  ],
  [
    "no class token for its pooling",
    "hf",
    { model: drop("vit.embeddings.cls_token") },
    "no square grid",
  ],
  ["no positions", "timm", { model: drop("pos_embed") }, '"pos_embed" is missing'],
  [
    "a tensor more",
    "timm",
    { model: put("blocks.0.attn.q_norm.weight", f32(16)) },
    '"blocks.0.attn.q_norm.weight", which no plain ViT',
  ],
  ["register tokens", "timm", { model: put("reg_token", f32(1, 4, 48)) }, '"reg_token"'],
  [
    "tensors of two layouts",
    "timm",
    { model: put("conv_proj.weight", f32(48, 3, 8, 8)) },
    '"conv_proj.weight", which no plain ViT',
  ],
  [
    "a block too many of one tensor",
    "timm",
    { model: put("blocks.2.norm1.weight", f32(48)) },
    "blocks to the number of 3",
  ],
  ["a kernel of another shape", "hf", {
    model: put("vit.encoder.layer.0.attention.attention.key.weight", f32(48, 47)),
  }, "has the shape [48,47], [48,48] is needed"],
  [
    "a kernel of another rank",
    "timm",
    { model: put("patch_embed.proj.weight", f32(48, 192)) },
    "and 4 axes are needed",
  ],
  ["patches that are no squares", "timm", {
    model: put("patch_embed.proj.weight", f32(48, 3, 8, 4)),
  }, "8 by 4 pixels"],
  [
    "no patch at all",
    "timm",
    { model: put("patch_embed.proj.weight", f32(0, 3, 8, 8)) },
    "has the shape [0,3,8,8]",
  ],
  ["positions of no square grid", "torchvision", {
    model: put("encoder.pos_embedding", f32(1, 19, 48)),
  }, "19 places, which are no square grid"],
  ["positions of another width", "hf", {
    model: put("vit.embeddings.position_embeddings", f32(1, 17, 40)),
  }, "[1,17,48] is needed"],
  ["whole numbers", "timm", {
    model: put("norm.bias", { dtype: "I32", shape: [48], data: new Int32Array(48) }),
  }, "is I32, and F32, F16 and BF16 are read"],
  ["numbers of 64 bits", "timm", {
    model: put("norm.bias", { dtype: "F64", shape: [48], data: new Float64Array(48) }),
  }, "is F64"],
  ["NaN among its weights", "timm", {
    model: put("norm.bias", { ...f32(48), data: new Float32Array(48).fill(NaN) } as TensorData),
  }, "holds NaN, and weights are finite"],
  ["an infinity as half", "timm", {
    model: put("norm.bias", { dtype: "F16", shape: [48], data: new Uint16Array(48).fill(0x7c00) }),
  }, "holds Infinity"],
  ["no tensors at all", "timm", { model: ({ tensors }) => tensors.clear() }, "it has no tensor"],
  ["tensors of another model", "timm", {
    model: ({ tensors }) => {
      tensors.clear();
      tensors.set("conv1.weight", f32(3));
    },
  }, 'tensors such as "conv1.weight"'],
  [
    "a width that is not its configuration's",
    "hf",
    { config: assign({ hidden_size: 64 }) },
    "a width of 48, and the configuration beside it says 64",
  ],
  [
    "a depth that is not its configuration's",
    "hf",
    { config: assign({ num_hidden_layers: 12 }) },
    "the number of 2, and the configuration beside it says 12",
  ],
  [
    "another image size in its configuration",
    "hf",
    { config: assign({ image_size: 224 }) },
    "images of side 32, and the configuration beside it says 224",
  ],
  [
    "more names than classes",
    "hf",
    { config: (config) => void (config.id2label[10] = "more") },
    "classes to the number of 10",
  ],
  [
    "a class without a name",
    "hf",
    { config: (config) => void delete config.id2label[3] },
    "has no class 3 of 9",
  ],
  [
    "heads that do not divide its width",
    "hf",
    { config: assign({ num_attention_heads: 7 }) },
    "no multiple of its 7 attention heads",
  ],
  [
    "no heads",
    "hf",
    { config: assign({ num_attention_heads: 0 }) },
    "num_attention_heads cannot be 0",
  ],
  [
    "heads of words",
    "timm",
    { config: (config) => void (config.model_args.num_heads = "three") },
    'model_args.num_heads cannot be "three"',
  ],
  [
    "another kind of model",
    "hf",
    { config: assign({ model_type: "swin" }) },
    'its model_type is "swin"',
  ],
  [
    "another activation",
    "hf",
    { config: assign({ hidden_act: "quick_gelu" }) },
    'hidden_act is "quick_gelu"',
  ],
  [
    "an inherited word for an activation",
    "hf",
    { config: assign({ hidden_act: "toString" }) },
    'hidden_act is "toString"',
  ],
  [
    "an epsilon below 0",
    "hf",
    { config: assign({ layer_norm_eps: -1 }) },
    "layer_norm_eps cannot be -1",
  ],
  ["a configuration that is no JSON", "hf", { config: () => "{" }, "is not valid JSON"],
  ["a configuration that is a list", "timm", { config: () => "[]" }, "must hold a JSON object"],
  [
    "a configuration of two megabytes",
    "timm",
    { config: () => `"${"x".repeat(2 << 20)}"` },
    "no more than 1 MiB is read",
  ],
  [
    "a mean of two channels",
    "hf",
    { preprocessor: assign({ image_mean: [0.5, 0.5] }) },
    "a mean of 2 channels",
  ],
  [
    "a deviation of 0",
    "hf",
    { preprocessor: assign({ image_std: [0.5, 0, 0.5] }) },
    "has 0 as a mean or deviation",
  ],
  ["images that are not scaled to 0 to 1", "hf", {
    preprocessor: assign({ rescale_factor: 1 / 127.5 }),
  }, "its images are multiplied by"],
  [
    "more names than its classifier",
    "timm",
    { config: assign({ label_names: ["a", "b"] }) },
    "a classifier of 10 classes, and 2 names",
  ],
];
for (const [name, from, changes, text] of hostile) {
  Deno.test(`a foreign model is refused with ${name}`, () =>
    inFolder(async (folder) => {
      await writeChanged(folder, from, changes);
      await assertSentence(folder, text);
    }));
}

async function assertSentence(path: string, text: string): Promise<void> {
  const { message } = await assertRejects(() => loadInitialWeights(path), UserError);
  assertStringIncludes(message, text);
  assert(!message.includes("\n") && message.length < 600, message);
}

/** Writes two shards of the golden model and the index that a test makes of its names. */
async function writeShards(folder: string, indexOf: (names: string[]) => unknown): Promise<void> {
  const { tensors } = await readSafetensorsFile(`${goldenFolder("hf")}/model.safetensors`);
  const names = [...tensors.keys()];
  for (const i of [0, 1]) {
    const part = new Map([...tensors].filter((_, at) => at % 2 === i));
    await Deno.writeFile(`${folder}/${i}.safetensors`, encodeSafetensors(part));
  }
  const index = indexOf(names);
  const text = typeof index === "string" ? index : JSON.stringify(index);
  await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, text);
}

const mapOf = (names: string[]) =>
  Object.fromEntries(names.map((name, at) => [name, `${at % 2}.safetensors`]));
const indices: [name: string, indexOf: (names: string[]) => unknown, text: string][] = [
  [
    "points out of its folder",
    (names) => ({ weight_map: { ...mapOf(names), [names[0]!]: "../0.safetensors" } }),
    'names the file "../0.safetensors"',
  ],
  [
    "points to an absolute path",
    (names) => ({ weight_map: { ...mapOf(names), [names[0]!]: "/etc/passwd" } }),
    'names the file "/etc/passwd"',
  ],
  [
    "names a hidden file",
    (names) => ({ weight_map: { ...mapOf(names), [names[0]!]: "..safetensors" } }),
    "a plain name in its own folder",
  ],
  [
    "names a shard that is not there",
    (names) => ({ weight_map: { ...mapOf(names), [names[0]!]: "2.safetensors" } }),
    "there is no such file",
  ],
  [
    "names a tensor in the wrong shard",
    (names) => ({ weight_map: { ...mapOf(names), [names[0]!]: "1.safetensors" } }),
    "that it does not name there",
  ],
  [
    "names a tensor that no shard has",
    (names) => ({ weight_map: { ...mapOf(names), more: "1.safetensors" } }),
    'has no tensor "more"',
  ],
  ["names nothing", () => ({ weight_map: {} }), "weight_map is empty"],
  ["has no map", () => ({ metadata: {} }), "no weight_map"],
  ["is no JSON", () => "{", "is not valid JSON"],
  [
    "names a thousand files and more",
    () => ({
      weight_map: Object.fromEntries(
        Array.from({ length: 1001 }, (_, i) => [`${i}`, `${i}.safetensors`]),
      ),
    }),
    "it names 1001 files",
  ],
];
for (const [name, indexOf, text] of indices) {
  Deno.test(`an index of shards is refused that ${name}`, () =>
    inFolder(async (folder) => {
      await writeShards(folder, indexOf);
      await assertSentence(folder, text);
    }));
}

Deno.test("an index is refused whose shards have a tensor twice", () =>
  inFolder(async (folder) => {
    await writeShards(folder, (names) => ({ weight_map: mapOf(names) }));
    await Deno.copyFile(`${folder}/0.safetensors`, `${folder}/1.safetensors`);
    await assertSentence(folder, "two of its files have a tensor");
  }));

Deno.test("a file of our own metadata is refused where that is nonsense", () =>
  inFolder(async (folder) => {
    for (
      const [text, said] of [["{", "is no JSON"], ['{"numHeads":-1}', "numHeads cannot be -1"]]
    ) {
      await writeChanged(folder, "torchvision", {
        model: ({ metadata }) => void (metadata["deno-vit"] = text!),
      });
      await assertSentence(folder, said!);
      assertEquals((await Array.fromAsync(Deno.readDir(folder))).length, 2);
    }
  }));
