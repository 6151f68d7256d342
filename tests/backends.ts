/**
 * Runs a test once per backend.
 *
 * Without a WebGPU adapter the webgpu tests are ignored, with the reason in their name, unless the
 * environment variable DENO_VIT_REQUIRE_WEBGPU is 1: then they fail.
 */
import { assertEquals } from "@std/assert";
import { checkGpu, clearGpuErrors, currentGpu, findAdapter } from "../lib/backend/device.ts";
import { backendNames, selectBackend } from "../lib/backend/select.ts";
import { tf } from "../lib/tfjs.ts";

/** A backend of Deno's. */
type BackendName = (typeof backendNames)[number];

/** What {@linkcode forEachBackend} may be told. */
export interface BackendTestOptions {
  /** The backends to run on; all by default. */
  backends?: readonly BackendName[];
  /** Allows the test to end with more or fewer tensors than it began with. */
  allowTensorLeak?: boolean;
  /** What the GPU lacks that the webgpu test needs, which is then ignored; see gpu_features.ts. */
  lacks?: string;
}

// Without it wgpu complains on stderr at each request for an adapter.
if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
  Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
}
/** Whether tests of WebGPU are ignored, for want of an adapter and of a demand for one. */
export const ignoreWebgpu: boolean = Deno.env.get("DENO_VIT_REQUIRE_WEBGPU") !== "1" &&
  (await findAdapter()) === null;

/**
 * Registers `name [webgpu]`, `name [wasm]` and `name [cpu]`. Each has its backend active in tfjs,
 * fails on any WebGPU validation error, and must leave as many tensors as it found.
 */
export function forEachBackend(
  name: string,
  test: (backendName: BackendName) => void | Promise<void>,
  { backends = backendNames, allowTensorLeak = false, lacks }: BackendTestOptions = {},
): void {
  for (const backend of backends) {
    const missing = backend !== "webgpu"
      ? null
      : ignoreWebgpu
      ? "this machine has no WebGPU adapter"
      : lacks
      ? `the GPU has no ${lacks}`
      : null;
    Deno.test({
      name: `${name} [${backend}]${missing ? ` (ignored: ${missing})` : ""}`,
      ignore: missing !== null,
      async fn() {
        await selectBackend(backend);
        const before = tf.memory().numTensors;
        let failure: unknown;
        try {
          await test(backend);
        } catch (error) {
          failure = error;
        }
        // Wrong values often come from an invalid shader, whose text is the better message.
        try {
          await checkGpu();
        } catch (error) {
          throw failure ? new Error((error as Error).message, { cause: failure }) : error;
        } finally {
          // One test's errors must not fail the next.
          const gpu = currentGpu();
          if (gpu) clearGpuErrors(gpu);
        }
        if (failure) throw failure;
        if (!allowTensorLeak) {
          assertEquals(tf.memory().numTensors, before, "the test left tensors behind");
        }
      },
    });
  }
}
