/** Time of one training step, kernel by kernel. */
import { currentGpu } from "../lib/backend/device.ts";
import { tf } from "../lib/tfjs.ts";
import { type StepSizes, workOf } from "./work.ts";

/** All calls of one kernel with one shape in one step. */
export interface KernelRow {
  name: string;
  shape: string;
  calls: number;
  /** 0 on wasm and cpu. */
  dispatches: number;
  ms: number;
  /** Share of the time of all kernels, 0 to 1. */
  share: number;
  /** 10^9 operations of matrix products a second; 0 where there are none. */
  gflops: number;
  /** 10^9 bytes of unavoidable traffic a second. */
  gigabytes: number;
}

/** tfjs's name for the forward pass of a gradient of one's own. */
const SCOPE = "unnamed scope";
/** `extraInfo` lists the dispatches of a kernel as "name: ms, name: ms". */
const PER_DISPATCH = /: [\d.e-]+(?=,|$)/g;

/**
 * Runs one step with every kernel timed: on webgpu each dispatch in a pass of its own, between two
 * timestamps; on wasm and cpu by the clock.
 *
 * @param run does the step on the current backend; pipelines must be compiled
 * @returns the longest first
 */
export async function profileStep(run: () => void, sizes: StepSizes): Promise<KernelRow[]> {
  const { kernels } = await tf.profile(() => {
    run();
    return [];
  });
  const isDevice = currentGpu() !== undefined;
  const rows = new Map<string, KernelRow & { flops: number; bytes: number }>();
  for (const kernel of kernels) {
    const ms = kernel.kernelTimeMs;
    // No promise any more, whatever its type says.
    const list = kernel.extraInfo as string;
    // Reshapes and the like dispatch nothing, and a gradient of our own counts what is in it again.
    if (typeof ms !== "number" || kernel.name === SCOPE || (isDevice && list === "")) continue;
    const { shape, flops, bytes } = workOf(kernel, sizes);
    const key = `${kernel.name} ${shape}`;
    const row = rows.get(key) ?? {
      name: kernel.name.replace(/^Vit/, ""),
      ...{
        shape,
        calls: 0,
        dispatches: 0,
        ms: 0,
        share: 0,
        gflops: 0,
        gigabytes: 0,
        flops: 0,
        bytes: 0,
      },
    };
    row.calls++;
    row.dispatches += list.match(PER_DISPATCH)?.length ?? 0;
    row.ms += ms;
    row.flops += flops;
    row.bytes += bytes;
    rows.set(key, row);
  }
  const total = [...rows.values()].reduce((sum, { ms }) => sum + ms, 0);
  return [...rows.values()]
    .map(({ flops, bytes, ...row }) => ({
      ...row,
      share: row.ms / total,
      gflops: flops / row.ms / 1e6,
      gigabytes: bytes / row.ms / 1e6,
    }))
    .sort((a, b) => b.ms - a.ms);
}
