/** `deno task predict`: the five likeliest classes of image files. */
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { readImageFile } from "../lib/data/image/read.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { predictImages, type Prediction } from "../lib/train/predict.ts";
import { assignWeights } from "../lib/train/weights.ts";
import { newCommand, runTask } from "./cli.ts";
import { loadRunWeights } from "./run_weights.ts";
import { percent } from "./train_display.ts";

const command = newCommand("predict", "Name the five likeliest classes of PNG or JPEG files.")
  .argument("<run>", "the run's folder")
  .argument("<images...>", "image files of any size")
  .option("--weights <which>", "best or last", "best")
  .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
  .option("--json", "print one JSON object per image", false)
  .addHelpText("after", "\nExample: deno task predict runs/my-run photo.jpg drawing.png");

await runTask(async () => {
  command.parse();
  const options = command.opts();
  const [runPath, paths] = command.processedArgs as unknown as [string, string[]];
  const { path, config, state } = await loadRunWeights(runPath, options.weights);
  const images = await Promise.all(paths.map((image) => readImageFile(image)));
  await selectBackend(options.backend);
  const model = createViTClassifier(modelConfigOf(config));
  assignWeights(model, state.weights, path);
  const predictions = await predictImages(model, images, state);
  predictions.forEach((top, i) => print(paths[i]!, top, options.json));
  Deno.exit(0);
});

function print(path: string, top: Prediction[], json: boolean): void {
  if (json) return console.log(JSON.stringify({ image: path, predictions: top }));
  console.log(path);
  for (const { className, probability } of top) {
    console.log(`  ${percent(probability).padStart(8)}  ${className}`);
  }
}
