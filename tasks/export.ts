/** `deno task export`: a run's weights for other programs. */
import { selectBackend } from "../lib/backend/select.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { fileHandler } from "../lib/export/file_handler.ts";
import { encodeOnnx } from "../lib/export/onnx.ts";
import {
  portableMetadata,
  type PortableModel,
  savePlainWeights,
} from "../lib/export/portable_model.ts";
import { type LayoutName, layouts } from "../lib/foreign/layouts.ts";
import { saveForeign } from "../lib/foreign/save.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { assignWeights } from "../lib/train/weights.ts";
import denoJson from "../deno.json" with { type: "json" };
import { givenOption, newCommand, oneOf, parseArguments, runTask } from "./cli.ts";
import { print } from "./output.ts";
import { checkAbsent } from "./output_file.ts";
import { loadClassifier, weightsOfRun } from "./run_weights.ts";

const formats = {
  safetensors: { write: savePlainWeights, what: "a safetensors file" },
  "layers-model": { write: writeLayersModel, what: "a folder for tf.loadLayersModel" },
  onnx: { write: writeOnnx, what: "an ONNX file" },
  ...Object.fromEntries(
    (Object.keys(layouts) as LayoutName[]).map((layout) => [layout, {
      write: (folder: string, model: PortableModel) => saveForeign(folder, model, layout),
      what: `a folder for ${layouts[layout].title}`,
    }]),
  ),
};

await runTask(async () => {
  const command = parseArguments(
    newCommand("export", "Write a run's weights for other programs.")
      .argument("<run>", "the run's folder or a checkpoint in it, or a ViT of another library")
      .requiredOption("--format <name>", Object.keys(formats).join(", "))
      .requiredOption(
        "--out <path>",
        "the file to write; the folder of layers-model, hf, timm, torchvision",
      )
      .option("--weights <which>", weightsOfRun, "best")
      .option("--json", "print one JSON object", false)
      .addHelpText(
        "after",
        "\nlayers-model is tfjs's; hf, timm and torchvision load theirs without code of ours.\n\n" +
          "Examples:\n  deno task export runs/my-run --format onnx --out model.onnx\n" +
          "  deno task export runs/my-run --format hf --out my-vit",
      ),
  );
  const { format, out, json } = command.opts();
  const { write, what } = oneOf("--format", format, formats);
  await checkAbsent(out);
  const [given] = command.processedArgs;
  const { path, step, ...model } = await loadClassifier(
    given,
    givenOption(command, "weights"),
    (text) => console.error(text),
  );
  await write(out, model);
  const { weights } = model;
  const parameters = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  if (json) return print(JSON.stringify({ checkpoint: path, step, parameters, format, out }));
  print(
    `${path}${step === undefined ? "" : `, step ${step}`}: ${
      parameters.toLocaleString("en")
    } parameters`,
  );
  print(`Wrote ${out}, ${what}.`);
});

async function writeLayersModel(folder: string, portable: PortableModel): Promise<void> {
  await selectBackend("cpu");
  const model = createViTClassifier(portable.config);
  assignWeights(model, portable.weights, "to export");
  model.setUserDefinedMetadata(portableMetadata(portable));
  await model.save(fileHandler(folder));
}

async function writeOnnx(path: string, portable: PortableModel): Promise<void> {
  await writeFileAtomic(path, [encodeOnnx(portable, { version: denoJson.version })]);
}
