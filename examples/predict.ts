// Names what is in pictures, by the best weights of a run.
// deno run --allow-read examples/predict.ts RUN PICTURE...
import { assignWeights, createViTClassifier, loadWeights, modelConfigOf } from "../mod.ts";
import { openRunFolder, predictImages, readImageFile, selectBackend } from "../mod.ts";

const [folder, ...files] = Deno.args;
if (!folder || files.length === 0) throw new Error("Give a run's folder, and pictures.");

await selectBackend("auto");
const { run } = await openRunFolder(folder);
const trained = await loadWeights(run.best);
const model = createViTClassifier(modelConfigOf(trained.config));
assignWeights(model, trained.weights, run.best);

const pictures = await Promise.all(files.map((file) => readImageFile(file)));
const predictions = await predictImages(model, pictures, trained, 3);
for (const [i, guesses] of predictions.entries()) {
  console.log(files[i]);
  for (const { className, probability } of guesses) {
    console.log(`  ${(100 * probability).toFixed(1).padStart(5)} %  ${className}`);
  }
}
