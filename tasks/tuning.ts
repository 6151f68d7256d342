/** Tiles of matrix products and forms of kernels, measured on this adapter and kept between runs. */
import type { ComputedOn } from "../lib/backend/computed_on.ts";
import { type BackendChoice, computedOn } from "../lib/backend/select.ts";
import type { RunConfig } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import { tuneForms, untunedForms } from "../lib/kernels/form_tuning.ts";
import { keepForms } from "../lib/kernels/forms.ts";
import { tune, untunedProducts } from "../lib/kernels/matmul/tuning.ts";
import { loadTuning, saveTuning } from "../lib/kernels/tuning_file.ts";
import { trainingForms } from "../lib/models/formed_shapes.ts";
import { trainingProducts } from "../lib/models/matrix_products.ts";
import denoJson from "../deno.json" with { type: "json" };

/** Beside the runs; only costs time to lose. */
const CACHE = ".cache/tuning.json";

/**
 * Takes over what is known of this adapter and, on a hardware GPU or where `measure` demands it,
 * measures the rest. A software adapter takes a minute for that, and its rule rests on measurements.
 *
 * @param onNotice told when something is measured, and when it cannot be kept
 * @param before what a run that goes on was computed on so far: on the same adapter it keeps the forms
 * that it had, to go on to the byte
 */
export async function tuneKernels(
  choice: BackendChoice,
  config: RunConfig,
  measure: boolean,
  onNotice: (text: string) => void,
  before?: ComputedOn,
): Promise<void> {
  if (choice.name !== "webgpu") return;
  const goesOn = before !== undefined && before.adapter === computedOn().adapter;
  if (goesOn) keepForms(before.forms ?? {});
  const isLoaded = await kept(() => loadTuning(CACHE, denoJson.version), onNotice);
  const products = untunedProducts(trainingProducts(config));
  // A software adapter has the forms that were made for it.
  const shapes = choice.isSoftware || goesOn ? [] : untunedForms(trainingForms(config));
  if (products.length + shapes.length === 0 || (choice.isSoftware && !measure)) return;
  onNotice(
    `Measuring ${products.length} matrix products` +
      (shapes.length > 0 ? ` and ${shapes.length} other kernels` : "") + ` on this GPU, once …`,
  );
  await tune(products);
  await tuneForms(shapes);
  if (isLoaded) await kept(() => saveTuning(CACHE, denoJson.version), onNotice);
}

/** Whether the file could be used; a run goes on without. */
async function kept(use: () => Promise<unknown>, onNotice: (text: string) => void) {
  try {
    await use();
    return true;
  } catch (error) {
    const isOfFiles = error instanceof UserError ||
      Object.values(Deno.errors).some((kind) => error instanceof kind);
    if (!isOfFiles) throw error;
    onNotice(`The measurements stay for this run alone: ${(error as Error).message}`);
    return false;
  }
}
