/** `deno task export`: a run's weights for other programs. */
import { basename, dirname, resolve } from "@std/path";
import { selectBackend } from "../lib/backend/select.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { fileHandler, filesOf } from "../lib/export/file_handler.ts";
import { encodeOnnx } from "../lib/export/onnx.ts";
import {
  portableMetadata,
  type PortableModel,
  savePlainWeights,
} from "../lib/export/portable_model.ts";
import { pageFiles, writeFiles } from "../lib/export/web.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import type { tf } from "../lib/tfjs.ts";
import { assignWeights } from "../lib/train/weights.ts";
import { bundled } from "./bundled.ts";
import denoJson from "../deno.json" with { type: "json" };
import { givenOption, newCommand, oneOf, parseArguments, runTask } from "./cli.ts";
import { print } from "./output.ts";
import { checkAbsent } from "./output_file.ts";
import { loadRunWeights, weightsOfRun } from "./run_weights.ts";

/** Writes a model of that name to a path. */
type Write = (path: string, portable: PortableModel, name: string) => Promise<void>;

const formats: Record<string, { write: Write; what: string }> = {
  safetensors: { write: savePlainWeights, what: "a safetensors file" },
  "layers-model": { write: writeLayersModel, what: "a folder for tf.loadLayersModel" },
  onnx: { write: writeOnnx, what: "an ONNX file" },
  web: { write: writeWeb, what: "a folder that any web server can serve; open it in a browser" },
};

await runTask(async () => {
  const command = parseArguments(
    newCommand("export", "Write a run's weights for other programs.")
      .argument("<run>", "the run's folder, or a checkpoint in it")
      .requiredOption("--format <name>", "safetensors, layers-model (of tfjs), onnx or web")
      .requiredOption("--out <path>", "the file to write; of layers-model and web, the folder")
      .option("--weights <which>", weightsOfRun, "best")
      .option("--json", "print one JSON object", false)
      .addHelpText(
        "after",
        "\nweb is a page that classifies pictures in a browser, also without a network.\n\n" +
          "Examples:\n  deno task export runs/my-run --format onnx --out model.onnx\n" +
          "  deno task export runs/my-run --format web --out page",
      ),
  );
  const { format, out, json } = command.opts();
  const { write, what } = oneOf("--format", format, formats);
  await checkAbsent(out);
  const [given] = command.processedArgs;
  const { path, config, state } = await loadRunWeights(given, givenOption(command, "weights"));
  const { weights, classNames, preprocessing, step } = state;
  const portable = { config: modelConfigOf(config), weights, classNames, preprocessing };
  await write(out, portable, nameOf(path));
  const parameters = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  if (json) return print(JSON.stringify({ checkpoint: path, step, parameters, format, out }));
  print(`${path}, step ${step}: ${parameters.toLocaleString("en")} parameters`);
  print(`Wrote ${out}, ${what}.`);
});

/** The name of a checkpoint's run. */
function nameOf(checkpoint: string): string {
  return basename(dirname(resolve(checkpoint)));
}

async function layersModel(portable: PortableModel): Promise<tf.LayersModel> {
  await selectBackend("cpu");
  const model = createViTClassifier(portable.config);
  assignWeights(model, portable.weights, "to export");
  model.setUserDefinedMetadata(portableMetadata(portable));
  return model;
}

async function writeLayersModel(folder: string, portable: PortableModel): Promise<void> {
  await (await layersModel(portable)).save(fileHandler(folder));
}

async function writeWeb(folder: string, portable: PortableModel, title: string): Promise<void> {
  // First, because it may not be had.
  const program = await bundled(new URL("../lib/web/page.ts", import.meta.url));
  const model = await filesOf(await layersModel(portable));
  const classes = portable.config.numClasses;
  await writeFiles(folder, await pageFiles({ title, classes, program, model }));
}

async function writeOnnx(path: string, portable: PortableModel): Promise<void> {
  await writeFileAtomic(path, [encodeOnnx(portable, { version: denoJson.version })]);
}
