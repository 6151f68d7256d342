/** 500 steps with their saves and validations: what a trainer holds stays what it was. */
import { assert, assertEquals } from "@std/assert";
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { tf } from "../../lib/tfjs.ts";
import { trainRun } from "../../lib/train/run.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { on } from "../train/tiny_run.ts";
import { faultOptions, faultRun, stepsAnEpoch } from "./trainer.ts";

/** More than are looked at, so that the last look is within the run. */
const steps = 700;
const watched = 500;
/** By then shaders, caches and a first save have taken what they need. */
const settled = 65;
/** JavaScript heap and array buffers, after garbage collection, may differ by so many bytes. */
const tolerance = 4 << 20;

interface Held {
  tensors: number;
  bytes: number;
  gpuBytes: number;
  wasmHeap: number;
  /** Of JavaScript, with array buffers; after a garbage collection. */
  javascript: number;
}

async function held(): Promise<Held> {
  const collect = (globalThis as { gc?: () => void }).gc;
  if (!collect) throw new Error("run this through: deno task test:faults");
  // At once, within the step that asks, as validation holds other tensors.
  const { numTensors, numBytes, ...rest } = tf.memory();
  const backend = tf.backend() as unknown as { wasm?: { HEAPU8: Uint8Array } };
  const onDevice = {
    tensors: numTensors,
    bytes: numBytes,
    gpuBytes: (rest as { numBytesAllocatedInGPU?: number }).numBytesAllocatedInGPU ?? 0,
    wasmHeap: backend.wasm?.HEAPU8.length ?? 0,
  };
  let javascript = Infinity;
  // The least of several, since a save may be in flight; what is freed by a finalizer needs a turn.
  for (let i = 0; i < 8; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10));
    const { heapUsed, external } = Deno.memoryUsage();
    javascript = Math.min(javascript, heapUsed + external);
  }
  return { ...onDevice, javascript };
}

forEachBackend("500 steps: memory flat", async (backend) => {
  await inFolder(async (folder) => {
    const config = { ...faultRun, epochs: steps / stepsAnEpoch };
    const run = await createRunFolder(`${folder}/run`, config);
    const seen = new Map<number, Promise<Held>>();
    await trainRun({
      ...faultOptions(),
      ...{ config, folder: run, readInterval: 0, save: { every: { steps: 20 } } },
      ...on({
        step: ({ step }) => {
          if (step === settled || step === settled + watched) seen.set(step, held());
        },
      }),
    });
    const [before, after] = await Promise.all(seen.values());
    const { javascript, ...rest } = before!;
    const { javascript: javascriptAfter, ...restAfter } = after!;
    assertEquals(restAfter, rest);
    const growth = javascriptAfter - javascript;
    assert(growth < tolerance, `JavaScript memory has grown by ${growth} bytes`);
    console.log(
      `${backend}: steps ${settled} to ${
        settled + watched
      }: ${rest.tensors} tensors of ${rest.bytes} ` +
        `bytes, ${rest.gpuBytes} bytes on the GPU, wasm heap of ${rest.wasmHeap} bytes: all the ` +
        `same; JavaScript ${growth >= 0 ? "+" : ""}${growth} bytes of ${javascript}`,
    );
  });
}, { backends: ["wasm", "webgpu"] });
