import { assertEquals, assertStringIncludes } from "@std/assert";
import "../../lib/export/file_handler.ts";
import { encodeOnnx } from "../../lib/export/onnx.ts";
import { loadPlainWeights } from "../../lib/export/portable_model.ts";
import { tf } from "../../lib/tfjs.ts";
import denoJson from "../../deno.json" with { type: "json" };
import { forEachBackend } from "../backends.ts";
import { inFolder, names } from "../checkpoint/folder.ts";
import { assertRefused, runTask } from "../tasks/run_task.ts";
import { logitsOf, modelOf, smallConfig, somePortable } from "./models.ts";
import { writeRun } from "./runs.ts";

const portable = somePortable(smallConfig({ pooling: "token" }));

forEachBackend(
  "export writes each format, and never over a file",
  () =>
    inFolder(async (folder) => {
      const run = await writeRun(`${folder}/run`, portable);
      const [plain, layers, onnx] = ["w.safetensors", "web", "m.onnx"].map((n) => `${folder}/${n}`);
      const results = await Promise.all([
        runTask("export", [run, "--format", "safetensors", "--out", plain!]),
        runTask("export", [run, "--format", "layers-model", "--out", layers!]),
        runTask("export", [run, "--format", "onnx", "--out", onnx!]),
      ]);
      for (const { code, stdout, stderr } of results) {
        assertEquals(code, 0, stderr);
        assertStringIncludes(stdout, "step 12");
      }
      assertEquals(await loadPlainWeights(plain!), portable);
      const model = modelOf(portable);
      const back = await tf.loadLayersModel(`file://${layers}/model.json`);
      const { config } = portable;
      assertEquals(await logitsOf(back, config, 2), await logitsOf(model, config, 2));
      for (const each of [model, back]) each.dispose();
      const { version } = denoJson;
      assertEquals(await Deno.readFile(onnx!), new Uint8Array(encodeOnnx(portable, { version })));

      const again = await runTask("export", [run, "--format", "onnx", "--out", layers!]);
      assertRefused(again, `${layers} exists already`);
      assertEquals(await names(layers!), ["group1-shard1of1.bin", "model.json"]);
    }),
  { backends: ["cpu"] },
);

Deno.test("export with a wrong option exits 2, says what is known, and writes nothing", () =>
  inFolder(async (folder) => {
    const run = await writeRun(`${folder}/run`, portable);
    const out = `${folder}/out`;
    const wrong = await Promise.all([
      runTask("export", [run, "--format", "keras", "--out", out]),
      runTask("export", [run, "--format", "onnx", "--out", out, "--weights", "last"]),
      runTask("export", [run, "--out", out]),
    ]);
    const says = [
      'cannot be "keras"; take safetensors or layers-model or onnx or web',
      "last.safetensors",
      "--format",
    ];
    wrong.forEach((result, i) => assertRefused(result, says[i]!));
    assertEquals(await names(folder), ["run"]);
  }));
