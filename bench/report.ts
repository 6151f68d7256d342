/** Everything about an adapter that one of its owners can send: one file. */
import { currentGpu } from "../lib/backend/device.ts";
import { formsInUse } from "../lib/kernels/forms.ts";
import { measuredTiles } from "../lib/kernels/matmul/tiles.ts";
import { tf } from "../lib/tfjs.ts";
import type { SideReport } from "./compare.ts";
import type { MatmulRow } from "./matmul.ts";
import type { Peak } from "./peak.ts";
import type { KernelRow } from "./profile.ts";

/** Result of `deno task bench`, which `--json` prints and `--report` writes. */
export interface Report {
  preset: string;
  batchSize: number;
  parameters: number;
  backend: string;
  /** Null without webgpu. */
  adapter: Adapter | null;
  machine: { os: string; arch: string; processors: number };
  versions: { deno: string; tfjs: string };
  /** Null without webgpu or timestamp queries. */
  peak: Peak | null;
  /** Ours alone where the plain port does not know what is trained. */
  steps: { tfjs: SideReport | null; ours: SideReport; speedup: number | null } | null;
  kernels: KernelRow[] | null;
  matmuls: MatmulRow[] | null;
  /** Products by shape, and the tile that was measured to be their fastest. */
  tiles: Record<string, string>;
  /** Forms of the other kernels, by shape, as the steps took them. */
  forms: Record<string, string>;
}

/** An adapter as its driver describes it. */
export interface Adapter {
  description: string;
  vendor: string;
  architecture: string;
  device: string;
  isSoftware: boolean;
  features: string[];
  limits: Record<string, number>;
}

/** A report of this machine, on the current backend, without any figure yet. */
export function newReport(preset: string, batchSize: number): Report {
  return {
    ...{ preset, batchSize, parameters: 0 },
    ...{ backend: tf.getBackend(), adapter: adapterOf() },
    machine: {
      os: Deno.build.os,
      arch: Deno.build.arch,
      processors: navigator.hardwareConcurrency,
    },
    versions: { deno: Deno.version.deno, tfjs: tf.version.tfjs },
    ...{ peak: null, steps: null, kernels: null, matmuls: null, tiles: {}, forms: {} },
  };
}

/** The report with what was chosen while it was made. */
export const withChoices = (report: Report): Report => ({
  ...report,
  tiles: Object.fromEntries(measuredTiles),
  forms: formsInUse(),
});

function adapterOf(): Adapter | null {
  const gpu = currentGpu();
  if (!gpu) return null;
  const { vendor, architecture, device } = gpu.info;
  return {
    ...{ description: gpu.description, vendor, architecture, device, isSoftware: gpu.isSoftware },
    features: [...gpu.device.features].sort(),
    limits: limitsOf(gpu.device.limits),
  };
}

/** Limits are getters of the class, which no spread sees. */
function limitsOf(limits: GPUSupportedLimits): Record<string, number> {
  const names = Object.keys(
    Object.getOwnPropertyDescriptors(GPUSupportedLimits.prototype),
  ) as (keyof GPUSupportedLimits)[];
  return Object.fromEntries(
    names.flatMap((name) => typeof limits[name] === "number" ? [[name, limits[name]]] : []),
  );
}
