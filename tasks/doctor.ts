/** `deno task doctor`: what this machine can run, and what to install where something is missing. */
import { format as formatBytes } from "@std/fmt/bytes";
import { join } from "@std/path";
import { type Gpu, requestGpu, usefulFeatures } from "../lib/backend/device.ts";
import { type Precision, precisions } from "../lib/backend/precision.ts";
import { adapterAdvice, selectBackend } from "../lib/backend/select.ts";
import { openRunFolder } from "../lib/checkpoint/run_folder.ts";
import { modelConfigOf, preset, presets } from "../lib/config/run.ts";
import { type DataSource, sources } from "../lib/data/sources.ts";
import { librariesHere } from "../lib/distributed/libraries.ts";
import { architectureOf } from "../lib/models/architecture.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { tf } from "../lib/tfjs.ts";
import { memoryText } from "../lib/train/memory_text.ts";
import { stepMemory } from "../lib/train/step_memory.ts";
import { newCommand, parseArguments, runTask } from "./cli.ts";
import { print } from "./output.ts";

/** The limits that bound the size of a model, a batch or a kernel. */
const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** What `--json` prints. */
interface Report {
  versions: Record<"deno" | "v8" | "typescript" | "tfjs" | "system", string>;
  memory: { total: number; available: number; processors: number };
  gpu: {
    description: string;
    vendor: string;
    architecture: string;
    device: string;
    isSoftware: boolean;
    features: Record<string, boolean>;
    limits: Record<string, number>;
  } | null;
  /** Values of --precision that this machine can train with; f16 on the webgpu backend alone. */
  precisions: Precision[];
  /** The backend that `auto` takes, and why. */
  backend: { name: string; reason: string };
  /** MPI libraries in their usual places; others are named with `train:mpi --mpi`. */
  mpi: string[];
  /** Folders with all files of a data set, by its name. */
  data: Record<string, string[]>;
  /** What is missing, and how to get it. */
  advice: string[];
}

async function examine(root: string): Promise<Report> {
  const advice: string[] = [];
  const gpu = await requestGpu().catch((error: unknown) => {
    advice.push(`The GPU gives no device (${(error as Error).message}): update its driver.`);
    return null;
  });
  if (!gpu && advice.length === 0) advice.push(`There is no WebGPU adapter: ${adapterAdvice}.`);
  if (gpu?.isSoftware) {
    advice.push(
      "The only WebGPU adapter computes on the CPU: with a GPU in this machine, " +
        "install its vendor's Vulkan driver.",
    );
  }
  const { name, reason } = await selectBackend("auto");
  const data = await findData(root);
  for (const [dataset, folders] of Object.entries(data)) {
    if (folders.length > 0) continue;
    advice.push(`${dataset} is not in ${root}/: run \`deno task data --dataset ${dataset}\`.`);
  }
  const { total, available } = Deno.systemMemoryInfo();
  return {
    versions: {
      ...Deno.version,
      tfjs: tf.version.tfjs,
      system: `${Deno.build.os} ${Deno.build.arch}`,
    },
    memory: { total, available, processors: navigator.hardwareConcurrency },
    gpu: gpu && describeGpu(gpu),
    precisions: precisions.filter((name) => name === "f32" || gpu?.features.has("shader-f16")),
    backend: { name, reason },
    mpi: (await librariesHere()).map(({ path }) => path),
    data,
    advice,
  };
}

function describeGpu(gpu: Gpu): Report["gpu"] {
  const { vendor, architecture, device } = gpu.info;
  const { limits } = gpu.device;
  return {
    description: gpu.description,
    vendor,
    architecture,
    device,
    isSoftware: gpu.isSoftware,
    features: Object.fromEntries(usefulFeatures.map((name) => [name, gpu.features.has(name)])),
    limits: Object.fromEntries(limitNames.map((name) => [name, limits[name]])),
  };
}

async function findData(root: string): Promise<Report["data"]> {
  const folders: string[] = [];
  try {
    for await (const entry of Deno.readDir(root)) {
      if (!entry.isFile && !entry.name.startsWith(".")) folders.push(join(root, entry.name));
    }
  } catch {
    // No folder, no data.
  }
  const found: Report["data"] = {};
  for (const [name, source] of Object.entries<DataSource>(sources)) {
    if (source.isGenerated) continue;
    const complete = await Promise.all(folders.map((folder) => hasAll(folder, source.files)));
    found[name] = folders.filter((_, index) => complete[index]).sort();
  }
  return found;
}

async function hasAll(folder: string, files: readonly string[]): Promise<boolean> {
  const stats = files.map((file) => Deno.stat(join(folder, file)));
  return (await Promise.allSettled(stats)).every(({ status }) => status === "fulfilled");
}

function show(report: Report): void {
  const { versions, memory, gpu, precisions, backend, mpi, data, advice } = report;
  line("deno", `${versions.deno} (V8 ${versions.v8}, TypeScript ${versions.typescript})`);
  line("tfjs", versions.tfjs);
  line("system", `${versions.system}, ${memory.processors} processors`);
  line("memory", `${bytes(memory.available)} available of ${bytes(memory.total)}`);
  if (gpu) {
    line("adapter", gpu.description + (gpu.isSoftware ? " (software: computes on the CPU)" : ""));
    line("vendor", [gpu.vendor, gpu.architecture, gpu.device].filter(Boolean).join(", "));
    const features = Object.entries(gpu.features);
    line("features", features.map(([name, has]) => `${name} ${has ? "yes" : "no"}`).join(", "));
    for (const [name, value] of Object.entries(gpu.limits)) {
      line(name, /Size$/.test(name) ? `${value} (${bytes(value)})` : `${value}`);
    }
  } else {
    line("adapter", "none");
  }
  for (const [name, folders] of Object.entries(data)) line(name, folders.join(", ") || "missing");
  line("MPI", mpi.join(", ") || "none in the usual places; only train:mpi needs one");
  line("--precision", precisions.join(", or with webgpu "));
  line("auto takes", backend.reason);
  if (advice.length > 0) print("");
  for (const text of advice) print(`- ${text}`);
}

/** The layers of a preset, or of the run in a folder. */
async function showModel(name: string, json?: true): Promise<void> {
  const config = Object.hasOwn(presets, name) || !await isFolder(name)
    ? preset(name)
    : (await openRunFolder(name)).config;
  const { parameters, tokens, weights } = architectureOf(config);
  const memory = stepMemory(config);
  if (json) {
    const shapes = Object.fromEntries(weights);
    return print(
      JSON.stringify({ model: name, parameters, tokens, memory, weights: shapes }, null, 2),
    );
  }
  await selectBackend("cpu");
  createViTClassifier(modelConfigOf(config)).summary(96, [0.4, 0.75, 0.88, 1], print);
  print(
    `${tokens} tokens; ${parameters.toLocaleString("en")} parameters in ${weights.size} weights.`,
  );
  print(memoryText(memory));
}

async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
}

function line(label: string, text: string): void {
  print(`${label.padEnd(34)}${text}`);
}

function bytes(value: number): string {
  return formatBytes(value, { binary: true }) as string;
}

await runTask(async () => {
  const command = parseArguments(
    newCommand(
      "doctor",
      "Shows what this machine can run, and what to install where something is missing.",
    )
      .option("--root <folder>", "the folder of the data sets", "data")
      .option("--model <name>", "show the layers of a preset's or a run's model instead")
      .option("--json", "print one JSON object"),
  );
  const { root, json, model } = command.opts();
  if (model !== undefined) return await showModel(model, json);
  const report = await examine(root);
  if (json) print(JSON.stringify(report, null, 2));
  else show(report);
});
