/**
 * Best that the adapter can do, measured: multiply-adds that touch no memory, and a copy from
 * one storage buffer to another. The figures that other kernels are held against.
 */
import { dispatch, uniformWords } from "../lib/backend/compute.ts";
import { currentGpu } from "../lib/backend/device.ts";
import { type TensorInfo, tf } from "../lib/tfjs.ts";

/** The adapter's measured limits. */
export interface Peak {
  /** 10^9 floating-point operations a second, a multiply-add being two. */
  gflops: number;
  /** 10^9 bytes a second, those read plus those written. */
  gigabytes: number;
}

const LANES = 64;
const REPEATS = 5;

/** Milliseconds that the device spends on what `run` encodes; 0 without timestamp queries. */
export async function deviceMs(run: () => void): Promise<number> {
  const { kernelMs } = await tf.time(run);
  return kernelMs as number;
}

/** Measures both limits on the current webgpu backend. Needs timestamp queries. */
export async function measurePeak(): Promise<Peak> {
  const isSoftware = currentGpu()?.isSoftware ?? false;
  return {
    gflops: await measureFma(isSoftware ? 2 ** 12 : 2 ** 20),
    gigabytes: await measureCopy(isSoftware ? 2 ** 26 : 2 ** 28),
  };
}

/** Operations of one loop body per vec4 chain; long enough to hide the loop. */
const UNROLL = 16;

async function measureFma(threads: number): Promise<number> {
  const iterations = 256;
  let best = 0;
  // How many independent chains hide the latency, and how many fit the registers, differs.
  for (const chains of [2, 3, 4, 8]) {
    const flops = threads * iterations * UNROLL * chains * 4 * 2;
    const ms = await fastest(() =>
      dispatch({
        key: `peak/fma/${chains}`,
        wgsl: () => fmaWgsl(chains, iterations),
        inputs: [],
        outputs: [{ shape: [threads, 4], dtype: "float32" }],
        // Near one, so that no chain ends in zeros or denormals.
        uniforms: uniformWords([["f", 0.9999], ["f", 1e-4]]),
        workgroups: [threads / LANES, 1, 1],
      })
    );
    best = Math.max(best, flops / ms / 1e6);
  }
  return best;
}

function fmaWgsl(chains: number, iterations: number): string {
  const all = Array.from({ length: chains }, (_, c) => c);
  const body = Array.from(
    { length: UNROLL },
    () => all.map((c) => `c${c} = fma(c${c}, x, y);`).join(" "),
  );
  return /* wgsl */ `
struct Uniforms { x: f32, y: f32 }
@group(0) @binding(0) var<storage, read_write> result: array<vec4<f32>>;
@group(0) @binding(1) var<uniform> u: Uniforms;
@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(u.x);
  let y = vec4<f32>(u.y);
  ${all.map((c) => `var c${c} = vec4<f32>(f32(id.x % 7u) + ${c}.0);`).join("\n  ")}
  for (var i = 0u; i < ${iterations}u; i++) {
    ${body.join("\n    ")}
  }
  result[id.x] = ${all.map((c) => `c${c}`).join(" + ")};
}
`;
}

async function measureCopy(bytes: number): Promise<number> {
  const vectors = bytes / 16;
  const from = tf.fill([vectors, 4], 1);
  const to = tf.fill([vectors, 4], 0);
  let best = 0;
  for (const rounds of [1, 16]) {
    const ms = await fastest(() =>
      dispatch({
        key: `peak/copy/${rounds}`,
        wgsl: () => copyWgsl(rounds),
        inputs: [from],
        outputs: [to],
        workgroups: [1024, vectors / rounds / LANES / 1024, 1],
      }), false);
    best = Math.max(best, 2 * bytes / ms / 1e6);
  }
  tf.dispose([from, to]);
  return best;
}

function copyWgsl(rounds: number): string {
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> from_: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> to_: array<vec4<f32>>;
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (workgroup.y * 1024u + workgroup.x) * ${LANES * rounds}u + lane;
  for (var i = 0u; i < ${rounds}u; i++) { to_[first + i * ${LANES}u] = from_[first + i * ${LANES}u]; }
}
`;
}

/** The shortest of a few runs, after one that compiles the pipeline. */
async function fastest(run: () => TensorInfo[], disposes = true): Promise<number> {
  let best = Infinity;
  for (let i = 0; i <= REPEATS; i++) {
    const ms = await deviceMs(() => {
      const results = run();
      if (disposes) { for (const { dataId } of results) tf.backend().disposeData(dataId); }
    });
    if (i > 0) best = Math.min(best, ms);
  }
  return best;
}
