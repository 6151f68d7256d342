/** Tiles of matrix products that were measured on this adapter, kept between runs. */
import type { BackendChoice } from "../lib/backend/select.ts";
import type { RunConfig } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import { loadTuning, saveTuning, tune, untunedProducts } from "../lib/kernels/matmul/tuning.ts";
import { trainingProducts } from "../lib/models/matrix_products.ts";
import denoJson from "../deno.json" with { type: "json" };

/** Beside the runs; only costs time to lose. */
const CACHE = ".cache/tuning.json";

/**
 * Takes over what is known of this adapter and, on a hardware GPU or where `measure` demands it,
 * measures the rest. A software adapter takes a minute for that, and its rule rests on measurements.
 *
 * @param onNotice told when something is measured, and when it cannot be kept
 */
export async function tuneKernels(
  choice: BackendChoice,
  config: RunConfig,
  measure: boolean,
  onNotice: (text: string) => void,
): Promise<void> {
  if (choice.name !== "webgpu") return;
  const isLoaded = await kept(() => loadTuning(CACHE, denoJson.version), onNotice);
  const products = untunedProducts(trainingProducts(config));
  if (products.length === 0 || (choice.isSoftware && !measure)) return;
  onNotice(`Measuring ${products.length} matrix products on this GPU, once …`);
  await tune(products);
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
