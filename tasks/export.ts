/** `deno task export`: a run's weights for other programs. */
import { basename, dirname, resolve } from "@std/path";
import { selectBackend } from "../lib/backend/select.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { fileHandler, filesOf } from "../lib/export/file_handler.ts";
import { encodeOnnx } from "../lib/export/onnx.ts";
import {
  portableMetadata,
  type PortableModel,
  savePlainWeights,
} from "../lib/export/portable_model.ts";
import { pageFiles, writeFiles } from "../lib/export/web.ts";
import { type LayoutName, layouts } from "../lib/foreign/layouts.ts";
import { saveForeign } from "../lib/foreign/save.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import type { tf } from "../lib/tfjs.ts";
import { assignWeights } from "../lib/train/weights.ts";
import { bundled } from "./bundled.ts";
import denoJson from "../deno.json" with { type: "json" };
import { givenOption, newCommand, oneOf, parseArguments, runTask } from "./cli.ts";
import { print } from "./output.ts";
import { checkAbsent } from "./output_file.ts";
import { loadClassifier, weightsOfRun } from "./run_weights.ts";

/** Writes a model of that name to a path. */
type Write = (path: string, portable: PortableModel, name: string) => Promise<void>;

const formats: Record<string, { write: Write; what: string }> = {
  safetensors: { write: savePlainWeights, what: "a safetensors file" },
  "layers-model": { write: writeLayersModel, what: "a folder for tf.loadLayersModel" },
  onnx: { write: writeOnnx, what: "an ONNX file" },
  web: { write: writeWeb, what: "a folder that any web server can serve; open it in a browser" },
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
        "the file to write; the folder of layers-model, web, hf, timm, torchvision",
      )
      .option("--weights <which>", weightsOfRun, "best")
      .option("--json", "print one JSON object", false)
      .addHelpText(
        "after",
        "\nlayers-model is tfjs's; web is a page that classifies pictures in a browser, also without a\n" +
          "network; hf, timm and torchvision load theirs without code of ours.\n\n" +
          "Examples:\n  deno task export runs/my-run --format onnx --out model.onnx\n" +
          "  deno task export runs/my-run --format web --out page\n" +
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
  await write(out, model, nameOf(path));
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
