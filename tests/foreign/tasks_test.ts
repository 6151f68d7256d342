/** The tasks take a model of another library in the place of a run. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { assertRefused, exists, jsonLines, runTask, runTaskWell } from "../tasks/run_task.ts";
import { goldenFolder, writeChanged } from "./golden.ts";

const photo = "docs/images/patches.png";

Deno.test("a model of another library classifies, and is written in another's layout with the same numbers", () =>
  inFolder(async (folder) => {
    const out = `${folder}/timm`;
    await runTaskWell("export", [goldenFolder("hf"), "--format", "timm", "--out", out]);
    const [ours, theirs] = await Promise.all(
      [out, goldenFolder("timm")].map((path) => readSafetensorsFile(`${path}/model.safetensors`)),
    );
    for (const [name, tensor] of theirs!.tensors) assertEquals(ours!.tensors.get(name), tensor);
    const predict = async (path: string) => {
      const args = [path, photo, "--backend", "cpu", "--json"];
      return jsonLines(await runTaskWell("predict", args))[0];
    };
    const [before, after] = [await predict(goldenFolder("hf")), await predict(out)];
    assertEquals(JSON.stringify(before).includes("class "), true);
    assertEquals(Object.keys(after), Object.keys(before));
  }));

Deno.test("what has no classifier must be fine-tuned first, and has no --weights to choose", () =>
  inFolder(async (folder) => {
    const path = `${folder}/vit`;
    await writeChanged(path, "timm", {
      model: ({ tensors }) => {
        for (const end of ["weight", "bias"]) tensors.delete(`head.${end}`);
      },
      config: (config) => void delete config.num_classes,
    });
    const args = ["--format", "onnx", "--out", `${folder}/x.onnx`];
    assertRefused(await runTask("export", [path, ...args]), "fine-tune it first");
    const refused = await runTask("export", [path, ...args, "--weights", "best"]);
    assertRefused(refused, "--weights best is for runs");
    assertEquals(await exists(`${folder}/x.onnx`), false);
    const { stderr } = await runTask("predict", [
      goldenFolder("torchvision"),
      photo,
      "--backend",
      "cpu",
    ]);
    assertStringIncludes(stderr, "3 are usual for a width of 48");
  }));
