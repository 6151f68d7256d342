/** The shaders of softmax cross-entropy; each part that softens labels is in them where it is used. */
import { gridMainWgsl, gridWgsl } from "../grid.ts";

/** Lanes that share a row. */
const LANES = 64;

/** Which parts the shaders have. */
export interface Parts {
  mixed: boolean;
  smooth: boolean;
}

/** The bindings of a row's shader: logits and labels, then `others`, each `access name: type`. */
function bindingsWgsl({ mixed, smooth }: Parts, others: [string, string, string][]): string {
  const all = [
    ["read", "logits", "array<f32>"],
    ["read", "labels", "array<u32>"],
    ...(mixed ? [["read", "second", "array<u32>"], ["read", "shares", "array<f32>"]] : []),
    ...others,
  ];
  const storage = all.map(([access, name, type], binding) =>
    `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: ${type};\n`
  );
  return /* wgsl */ `
struct Uniforms { batch: u32, classes: u32, nan_bits: u32${smooth ? ", smoothing: f32" : ""} }
${storage.join("")}@group(0) @binding(${all.length}) var<uniform> u: Uniforms;
`;
}

/** WGSL: a row's labels, and whether its greatest logit and sum say that its loss is defined. */
function readLabelsWgsl({ mixed }: Parts): string {
  if (!mixed) {
    return `let label = labels[i];
  let row = read_row(base, lane, label);`;
  }
  return `let label = labels[i];
  let other = second[i];
  let first_share = shares[i];
  let row = read_row(base, lane, max(label, other));`;
}

/** A tree over the workgroup, in a fixed order: the same bits in every run. */
function reduceWgsl(name: string, memory: string, type: string, combine: string): string {
  return /* wgsl */ `
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  ${memory}[lane] = value;
  workgroupBarrier();
  for (var width = ${LANES / 2}u; width > 0u; width >>= 1u) {
    if (lane < width) {
      let a = ${memory}[lane];
      let b = ${memory}[lane + width];
      ${memory}[lane] = ${combine};
    }
    workgroupBarrier();
  }
  let result = ${memory}[0];
  workgroupBarrier();
  return result;
}
`;
}

/** The greatest logit and the sum of exponentials of a row, and whether its loss is defined. */
const rowWgsl = /* wgsl */ `
struct Row { greatest: f32, sum: f32, is_defined: bool }

// NaN or +Infinity, told by the bits, since shaders may assume that floats are finite.
fn spoils_row(value: f32) -> bool {
  let bits = bitcast<u32>(value);
  return (bits & 0x7fffffffu) > 0x7f800000u || bits == 0x7f800000u;
}
fn read_row(base: u32, lane: u32, label: u32) -> Row {
  var row: Row;
  var greatest = -3.4028234e38;
  var spoilt = 0u;
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    let value = logits[base + k];
    spoilt += select(0u, 1u, spoils_row(value));
    greatest = max(greatest, value);
  }
  row.greatest = reduce_max(lane, greatest);
  let is_clean = reduce_count(lane, spoilt) == 0u;
  var sum = 0.0;
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    sum += exp(logits[base + k] - row.greatest);
  }
  row.sum = reduce_sum(lane, sum);
  row.is_defined = is_clean && label < u.classes && row.sum > 0.0;
  return row;
}
`;

const reducersWgsl = /* wgsl */ `
var<workgroup> floats: array<f32, ${LANES}>;
var<workgroup> counts: array<u32, ${LANES}>;
${reduceWgsl("reduce_max", "floats", "f32", "max(a, b)")}
${reduceWgsl("reduce_sum", "floats", "f32", "a + b")}
${reduceWgsl("reduce_count", "counts", "u32", "a + b")}
`;

/** WGSL of each row's loss and hits. */
export function statsWgsl(parts: Parts): string {
  const { mixed, smooth } = parts;
  return /* wgsl */ `${bindingsWgsl(parts, [["read_write", "stats", "array<f32>"]])}${
    mixed ? weightedWgsl : ""
  }${gridWgsl}${reducersWgsl}${rowWgsl}
${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups);
  if (i >= u.batch) { return; }
  let base = i * u.classes;
  ${readLabelsWgsl(parts)}
  let own = logits[base + min(label, u.classes - 1u)];
  var above = 0u;${smooth ? "\n  var part = 0.0;" : ""}
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    let value = logits[base + k];
    above += select(0u, 1u, value > own || (value == own && k < label));${
    smooth ? "\n    part += value - row.greatest;" : ""
  }
  }
  let rank = reduce_count(lane, above);${smooth ? "\n  let total = reduce_sum(lane, part);" : ""}
  if (lane == 0u) {${
    mixed
      ? `
    let wanted = weighted(first_share, own - row.greatest) +
      weighted(1.0 - first_share, logits[base + min(other, u.classes - 1u)] - row.greatest);`
      : smooth
      ? "\n    let wanted = own - row.greatest;"
      : ""
  }
    let loss = log(row.sum) - ${
    smooth
      ? "((1.0 - u.smoothing) * wanted + u.smoothing * total / f32(u.classes))"
      : mixed
      ? "wanted"
      : "(own - row.greatest)"
  };
    stats[i * 3u] = select(bitcast<f32>(u.nan_bits), loss, row.is_defined);
    stats[i * 3u + 1u] = select(0.0, 1.0, row.is_defined && rank == 0u);
    stats[i * 3u + 2u] = select(0.0, 1.0, row.is_defined && rank < 5u);
  }
}
`;
}

/** A product that a weight of 0 makes 0, as an image that is not mixed has it. */
const weightedWgsl = /* wgsl */ `
fn weighted(weight: f32, value: f32) -> f32 { return select(weight * value, 0.0, weight == 0.0); }
`;

/** WGSL of the mean of the losses. */
export const meanWgsl = /* wgsl */ `
struct Uniforms { batch: u32 }
@group(0) @binding(0) var<storage, read> stats: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
var<workgroup> floats: array<f32, ${LANES}>;
${reduceWgsl("reduce_sum", "floats", "f32", "a + b")}
@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < u.batch; i += ${LANES}u) { sum += stats[i * 3u]; }
  let total = reduce_sum(lane, sum);
  if (lane == 0u) { loss[0] = total / f32(u.batch); }
}
`;

/** WGSL of the gradient with respect to the logits. */
export function gradientWgsl(parts: Parts): string {
  const { mixed, smooth } = parts;
  const label = mixed
    ? "select(0.0, first_share, k == label) + select(0.0, 1.0 - first_share, k == other)"
    : "select(0.0, 1.0, k == label)";
  const target = smooth
    ? `((1.0 - u.smoothing) * (${label}) + u.smoothing / f32(u.classes))`
    : mixed
    ? `(${label})`
    : label;
  const others: [string, string, string][] = [
    ["read", "dy", "array<f32>"],
    ["read_write", "gradient", "array<f32>"],
  ];
  return /* wgsl */ `${bindingsWgsl(parts, others)}${gridWgsl}${reducersWgsl}${rowWgsl}
${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups);
  if (i >= u.batch) { return; }
  let base = i * u.classes;
  ${readLabelsWgsl(parts)}
  let factor = dy[0] / f32(u.batch);
  for (var k = lane; k < u.classes; k += ${LANES}u) {
    let share = exp(logits[base + k] - row.greatest) / row.sum;
    let value = factor * (share - ${target});
    gradient[base + k] = select(bitcast<f32>(u.nan_bits), value, row.is_defined);
  }
}
`;
}
