/** `deno task export`: a run's weights for other programs. */
import { selectBackend } from "../lib/backend/select.ts";
import { ioError, writeFileAtomic } from "../lib/files.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import { fileHandler } from "../lib/export/file_handler.ts";
import { encodeOnnx } from "../lib/export/onnx.ts";
import {
  portableMetadata,
  type PortableModel,
  savePlainWeights,
} from "../lib/export/portable_model.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { assignWeights } from "../lib/train/weights.ts";
import denoJson from "../deno.json" with { type: "json" };
import { newCommand, oneOf, runTask } from "./cli.ts";
import { loadRunWeights } from "./run_weights.ts";

const formats = {
  safetensors: { write: savePlainWeights, what: "a safetensors file" },
  "layers-model": { write: writeLayersModel, what: "a folder for tf.loadLayersModel" },
  onnx: { write: writeOnnx, what: "an ONNX file" },
};

const command = newCommand("export", "Write a run's weights for other programs.")
  .argument("<run>", "the run's folder")
  .requiredOption("--format <name>", "safetensors, layers-model (of tfjs) or onnx")
  .requiredOption("--out <path>", "the file to write; of layers-model, the folder")
  .option("--weights <which>", "best or last", "best");

await runTask(async () => {
  command.parse();
  const { format, out, weights: which } = command.opts();
  const { write, what } = oneOf("--format", format, formats);
  await checkAbsent(out);
  const { path, config, state } = await loadRunWeights(command.args[0]!, which);
  const { weights, classNames, preprocessing, step } = state;
  await write(out, { config: modelConfigOf(config), weights, classNames, preprocessing });
  const count = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  console.log(`${path}, step ${step}: ${count.toLocaleString("en")} parameters`);
  console.log(`Wrote ${out}, ${what}.`);
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

/** An export never replaces what is there: a wrong path would cost a model. */
async function checkAbsent(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw ioError(error, "write", path);
  }
  throw new UserError(`${path} exists already; choose another --out or remove it first.`);
}
