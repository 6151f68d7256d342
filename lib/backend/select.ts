/**
 * Which tfjs backend a run computes on, and why.
 *
 * `auto` takes a hardware GPU, else wasm, else a software GPU, else cpu: a software WebGPU adapter
 * runs on the same CPU cores as wasm and is several times slower than its SIMD kernels.
 */
import { UserError } from "../errors.ts";
import { tf } from "../tfjs.ts";
import { type AdapterFacts, findAdapter, type Gpu, registerWebgpu, requestGpu } from "./device.ts";

/** The backends a run can compute on. */
export const backendNames = ["webgpu", "wasm", "cpu"] as const;
/** One of {@linkcode backendNames}. */
export type BackendName = typeof backendNames[number];

/** What is known of this machine when a backend is chosen. */
export interface BackendFacts {
  /** The WebGPU adapter, if there is one. */
  adapter?: { readonly description: string; readonly isSoftware: boolean };
  /** Why an adapter that is there cannot be used. */
  webgpuProblem?: string;
  /** Why wasm cannot be used; undefined when nothing speaks against it. */
  wasmProblem?: string;
}

/** The outcome of a choice: the backend, and one line that says which and why. */
export interface BackendDecision {
  /** The backend's name in tfjs. */
  readonly name: BackendName;
  /** One line for people, which begins with the name. */
  readonly reason: string;
}

/** The active backend. */
export interface BackendChoice extends BackendDecision {
  /** The device, when the backend is webgpu. */
  readonly gpu: Gpu | null;
  /** True when the work is done by the CPU, on every backend but hardware WebGPU. */
  readonly isSoftware: boolean;
}

/** How to get a WebGPU adapter on this kind of machine. */
export const adapterAdvice: string =
  "install the GPU vendor's Vulkan driver, or Mesa's software driver with " +
  "`apt-get install mesa-vulkan-drivers libvulkan1`";

/**
 * Chooses a backend from the facts alone.
 *
 * @throws {UserError} when the wanted backend is unknown or cannot be had.
 */
export function chooseBackend(wanted: string, facts: BackendFacts): BackendDecision {
  const { adapter, webgpuProblem, wasmProblem } = facts;
  const webgpu = adapter && !webgpuProblem ? adapter : undefined;
  const noWebgpu = webgpuProblem ?? "there is no WebGPU adapter";
  switch (wanted) {
    case "cpu":
      return { name: "cpu", reason: "cpu: as demanded; plain TypeScript, the slowest" };
    case "wasm":
      if (wasmProblem) throw new UserError(`The wasm backend cannot start: ${wasmProblem}.`);
      return { name: "wasm", reason: "wasm: as demanded" };
    case "webgpu":
      if (!webgpu) {
        throw new UserError(
          `The webgpu backend cannot start: ${noWebgpu}; ${adapterAdvice}, or take --backend auto.`,
        );
      }
      return { name: "webgpu", reason: `webgpu: as demanded, on ${nameOf(webgpu)}` };
    case "auto":
      break;
    default:
      throw new UserError(
        `Unknown backend "${wanted}"; take one of auto, ${backendNames.join(", ")}.`,
      );
  }
  if (webgpu && !webgpu.isSoftware) {
    return { name: "webgpu", reason: `webgpu: on ${nameOf(webgpu)}` };
  }
  if (!wasmProblem) {
    const why = webgpu
      ? `the only WebGPU adapter is ${nameOf(webgpu)}, slower than wasm`
      : noWebgpu;
    return { name: "wasm", reason: `wasm: ${why}` };
  }
  if (webgpu) {
    return {
      name: "webgpu",
      reason: `webgpu: on ${nameOf(webgpu)}, since wasm cannot start: ${wasmProblem}`,
    };
  }
  return { name: "cpu", reason: `cpu: ${noWebgpu}, and wasm cannot start: ${wasmProblem}` };
}

function nameOf(adapter: { description: string; isSoftware: boolean }): string {
  return adapter.isSoftware ? `${adapter.description} (software)` : adapter.description;
}

let registered: Gpu | null = null;

/**
 * Makes the wanted backend the current one of tfjs. The GPU device is made once and kept; a lost one
 * is replaced.
 *
 * @param wanted "auto" or one of {@linkcode backendNames}.
 * @throws {UserError} when the wanted backend is unknown or cannot be had.
 */
export async function selectBackend(wanted: string = "auto"): Promise<BackendChoice> {
  const needsAdapter = wanted === "auto" || wanted === "webgpu";
  const healthy = registered && !registered.lost ? registered : null;
  const adapter = needsAdapter && !healthy ? await findAdapter() : null;
  const facts: BackendFacts = { adapter: healthy ?? adapter ?? undefined };
  // Each failure becomes a fact, so the second choice is made by the same rules as the first.
  while (true) {
    const decision = chooseBackend(wanted, facts);
    try {
      if (decision.name === "webgpu" && !healthy) await renewGpu(adapter);
      await activate(decision.name);
      const gpu = decision.name === "webgpu" ? registered : null;
      return { ...decision, gpu, isSoftware: gpu?.isSoftware ?? true };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (decision.name === "webgpu") facts.webgpuProblem = problem;
      else if (decision.name === "wasm") facts.wasmProblem = problem;
      else throw error;
    }
  }
}

async function renewGpu(adapter: AdapterFacts | null): Promise<void> {
  registered = adapter && await requestGpu({ adapter });
  if (registered) registerWebgpu(registered);
}

/** Switches tfjs to a backend; throws what speaks against it. */
async function activate(name: BackendName): Promise<void> {
  // tfjs takes Deno for Node and would advertise its Node package on first use of the cpu backend.
  tf.env().set("IS_NODE", false);
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  if (await tf.setBackend(name)) return;
  if (name === "wasm" && (await Deno.permissions.query({ name: "read" })).state !== "granted") {
    throw new Error("its .wasm file lies in Deno's npm cache, and --allow-read was not given");
  }
  throw new Error(`tfjs could not start its ${name} backend`);
}
