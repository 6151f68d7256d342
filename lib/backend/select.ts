/**
 * Choice of the tfjs backend that a run computes on, and its reason.
 *
 * `auto` takes a hardware GPU, else wasm, else a software adapter, else the cpu backend. A software
 * adapter and wasm compute on the same processors, and wasm with `lib/simd` takes less time. Measured
 * side by side on two processors (`llvmpipe`, a training step, time of webgpu by that of wasm): 2.0
 * for `tiny` with batch 64, 3.1 for `keras-cifar100` with batch 8, 2.9 for `compact` with batch 128.
 */
import type { ComputedOn } from "./computed_on.ts";
import { UserError } from "../errors.ts";
import "./wasm_identity.ts";
import { currentPool, openPool } from "../simd/pool.ts";
import { shareHeap } from "../simd/shared_heap.ts";
import { tf } from "../tfjs.ts";
import {
  type AdapterFacts,
  currentGpu,
  findAdapter,
  type Gpu,
  registerWebgpu,
  requestGpu,
} from "./device.ts";

/** The backends a run can compute on. */
export const backendNames = ["webgpu", "wasm", "cpu"] as const;
/** @internal */
type Names = typeof backendNames;

/** Backend that computes; webgl only predicts, and only in browsers. */
export type BackendName = Names[number] | "webgl";

/** Facts of this machine by which a backend is chosen. */
export interface BackendFacts {
  /** The WebGPU adapter, if there is one. */
  adapter?: { readonly description: string; readonly isSoftware: boolean };
  /** Reason why an adapter that is there cannot be used. */
  webgpuProblem?: string;
  /** Reason why wasm cannot be used; undefined when nothing speaks against it. */
  wasmProblem?: string;
  /** Whether there is WebGL, as in browsers. */
  hasWebgl?: boolean;
  /** Reason why WebGL cannot be used although it is there. */
  webglProblem?: string;
}

/** Options of {@linkcode selectBackend}. */
export interface BackendOptions {
  /** Threads that compute under wasm, the caller's among them; one for each processor by default. */
  threads?: number;
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

/** Way to a WebGPU adapter on this kind of machine. */
export const adapterAdvice: string =
  "install the GPU vendor's Vulkan driver, or Mesa's software driver with " +
  "`apt-get install mesa-vulkan-drivers libvulkan1`";

/**
 * Chooses a backend from the facts alone.
 *
 * @param why why one is wanted that is not auto
 * @throws {UserError} when the wanted backend is unknown or cannot be had.
 */
export function chooseBackend(
  wanted: string,
  facts: BackendFacts,
  why: string = "as demanded",
): BackendDecision {
  const { adapter, webgpuProblem, wasmProblem, hasWebgl, webglProblem } = facts;
  const webgpu = adapter && !webgpuProblem ? adapter : undefined;
  const noWebgpu = webgpuProblem ?? "there is no WebGPU adapter";
  switch (wanted) {
    case "cpu":
      return { name: "cpu", reason: `cpu: ${why}; plain TypeScript, the slowest` };
    case "wasm":
      if (wasmProblem) throw new UserError(`The wasm backend cannot start: ${wasmProblem}.`);
      return { name: "wasm", reason: `wasm: ${why}` };
    case "webgpu":
      if (!webgpu) {
        throw new UserError(
          `The webgpu backend cannot start: ${noWebgpu}; ${adapterAdvice}, or take --backend auto.`,
        );
      }
      return { name: "webgpu", reason: `webgpu: ${why}, on ${nameOf(webgpu)}` };
    case "webgl":
      if (!hasWebgl) throw unknown(wanted);
      if (webglProblem) {
        throw new UserError(`The webgl backend cannot start: ${webglProblem}; take auto.`);
      }
      return { name: "webgl", reason: `webgl: ${why}` };
    case "auto":
      break;
    default:
      throw unknown(wanted);
  }
  if (webgpu && !webgpu.isSoftware) {
    return { name: "webgpu", reason: `webgpu: on ${nameOf(webgpu)}` };
  }
  if (!wasmProblem) {
    const why = webgpu
      ? `the only WebGPU adapter is ${nameOf(webgpu)}, slower than wasm on the same processors`
      : noWebgpu;
    return { name: "wasm", reason: `wasm: ${why}` };
  }
  if (webgpu) {
    return {
      name: "webgpu",
      reason: `webgpu: on ${nameOf(webgpu)}, since wasm cannot start: ${wasmProblem}`,
    };
  }
  if (hasWebgl && !webglProblem) {
    const reason = `webgl: ${noWebgpu}, and wasm cannot start: ${wasmProblem}`;
    return { name: "webgl", reason };
  }
  return { name: "cpu", reason: `cpu: ${noWebgpu}, and wasm cannot start: ${wasmProblem}` };
}

function unknown(wanted: string): UserError {
  return new UserError(
    `Unknown backend "${wanted}"; take one of auto, ${backendNames.join(", ")}.`,
  );
}

function nameOf(adapter: { description: string; isSoftware: boolean }): string {
  return adapter.isSoftware ? `${adapter.description} (software)` : adapter.description;
}

let registered: Gpu | null = null;

/**
 * Makes the wanted backend the current one of tfjs. The GPU device is made once and kept; a lost
 * one is replaced.
 *
 * @param wanted "auto" or one of {@linkcode backendNames}.
 * @param options How many threads compute under wasm.
 * @throws {UserError} when the wanted backend is unknown or cannot be had.
 *
 * @example
 * ```ts
 * import { selectBackend } from "../../mod.ts";
 *
 * const { name, reason } = await selectBackend("auto");
 * console.log(name, "because", reason);
 * ```
 */
export function selectBackend(
  wanted: string = "auto",
  { threads }: BackendOptions = {},
): Promise<BackendChoice> {
  return select(wanted, { threads });
}

async function select(
  wanted: string,
  { threads, why }: BackendOptions & { why?: string } = {},
): Promise<BackendChoice> {
  const needsAdapter = wanted === "auto" || wanted === "webgpu";
  const healthy = registered && !registered.lost ? registered : null;
  const adapter = needsAdapter && !healthy ? await findAdapter() : null;
  const facts: BackendFacts = {
    adapter: healthy ?? adapter ?? undefined,
    hasWebgl: tf.findBackendFactory("webgl") !== undefined,
  };
  // Each failure becomes a fact, so the second choice is made by the same rules as the first.
  while (true) {
    const decision = chooseBackend(wanted, facts, why);
    try {
      if (decision.name === "webgpu" && !healthy) await renewGpu(adapter);
      await activate(decision.name, threads);
      const gpu = decision.name === "webgpu" ? registered : null;
      const pool = currentPool();
      const reason = decision.reason + (pool ? `, ${pool.workers + 1} threads` : "");
      return { ...decision, reason, gpu, isSoftware: gpu?.isSoftware ?? true };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (decision.name === "webgpu") facts.webgpuProblem = problem;
      else if (decision.name === "wasm") facts.wasmProblem = problem;
      else if (decision.name === "webgl") facts.webglProblem = problem;
      else throw error;
    }
  }
}

async function renewGpu(adapter: AdapterFacts | null): Promise<void> {
  registered = adapter && await requestGpu({ adapter });
  if (registered) registerWebgpu(registered);
}

/** Backend and adapter that compute now. */
export function computedOn(): ComputedOn {
  const adapter = currentGpu()?.description ?? currentPool()?.description;
  return { backend: tf.getBackend(), ...(adapter !== undefined && { adapter }) };
}

/**
 * Makes the backend current that a run was computed on so far, so that it goes on to the byte.
 *
 * @param wanted as in {@linkcode selectBackend}; auto takes the run's own
 * @param before what {@linkcode computedOn} gave then; undefined for a new run
 * @param onNotice told in a sentence when the run goes on with other rounding
 * @param options as in {@linkcode selectBackend}
 * @throws {UserError} when the demanded backend cannot be had
 *
 * @example
 * ```ts
 * import { selectBackendOfRun } from "../../mod.ts";
 *
 * const before = { backend: "cpu" };
 * const { name } = await selectBackendOfRun("auto", before, console.warn);
 * console.log(name); // cpu
 * ```
 */
export async function selectBackendOfRun(
  wanted: string,
  before: ComputedOn | undefined,
  onNotice: (text: string) => void,
  { threads }: BackendOptions = {},
): Promise<BackendChoice> {
  let choice: BackendChoice;
  try {
    choice = wanted === "auto" && before
      ? await select(before.backend, { why: "as before", threads })
      : await select(wanted, { threads });
  } catch (error) {
    if (wanted !== "auto" || !(error instanceof UserError)) throw error;
    choice = await select("auto", { threads });
  }
  if (!before) return choice;
  const now = computedOn();
  if (before.backend !== now.backend || before.adapter !== now.adapter) {
    const text = ({ backend, adapter }: ComputedOn) => backend + (adapter ? ` (${adapter})` : "");
    onNotice(
      `The run was computed on ${text(before)} so far and goes on on ${text(now)}, which rounds ` +
        `otherwise: it will not be the same to the byte as an unbroken one.`,
    );
  }
  return choice;
}

let heapIsShared: Promise<void> | undefined;

/** Switches tfjs to a backend; throws what speaks against it. */
async function activate(
  name: BackendName,
  threads = navigator.hardwareConcurrency,
): Promise<void> {
  // tfjs takes Deno for Node and would advertise its Node package on first use of the cpu backend.
  tf.env().set("IS_NODE", false);
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  if (name === "wasm" && "Deno" in globalThis) {
    await (heapIsShared ??= shareHeap().catch((error) => {
      // tfjs may not read its file either, and says so.
      if (!(error instanceof Deno.errors.NotCapable)) throw error;
    }));
  }
  if (await tf.setBackend(name)) {
    if (name === "wasm") openPool(threads);
    return;
  }
  const place = name === "wasm"
    ? "; its .wasm file must be readable, in Deno with --allow-read, in a browser by setWasmPaths"
    : "";
  throw new Error(`tfjs could not start its ${name} backend${place}`);
}
