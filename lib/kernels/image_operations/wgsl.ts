/** The WGSL of image_operations.ts: a workgroup an image. */
import { gridMainWgsl, gridWgsl } from "../grid.ts";
import { FILL, GREY_SHARES, OPERATION_NUMBERS, operations, ROUNDING } from "./operations.ts";

const LANES = 256;

/** What decides the text of the module. */
export interface Variant {
  channels: number;
  hasOperations: boolean;
  hasErased: boolean;
  isFinished: boolean;
}

/**
 * The module. First what an operation has to know of the whole image is counted, in integers, so
 * that the order does not matter; then a table of levels is made, where the operation is one; then
 * each pixel is.
 */
export function imageOperationsWgsl(
  { channels, hasOperations, hasErased, isFinished }: Variant,
): string {
  const components = ["x", "y", "z", "w"].slice(0, channels);
  const inputs = [
    "images: array<f32>",
    ...(hasOperations ? ["operations: array<f32>"] : []),
    ...(hasErased ? ["erased: array<vec4<f32>>"] : []),
  ].map((declared, i) => `@group(0) @binding(${i}) var<storage, read> ${declared};`);
  const row = (k: number) => `operations[image * ${OPERATION_NUMBERS}u + ${k}u]`;
  return /* wgsl */ `
struct Uniforms {
  mean: vec4<f32>, inverse_deviation: vec4<f32>,
  height: u32, width: u32, batch: u32,
}
${inputs.join("\n")}
@group(0) @binding(${inputs.length}) var<storage, read_write> made: array<f32>;
@group(0) @binding(${inputs.length + 1}) var<uniform> u: Uniforms;
${operations.map((name, i) => `const ${name.toUpperCase()} = ${i}u;`).join("\n")}
// Of each channel: counts of the levels, then of those below, then what becomes of a level.
var<workgroup> table: array<atomic<u32>, ${256 * channels}>;
var<workgroup> grey_sum: atomic<u32>;
// Of each channel: the lowest level, the highest, and the pixels below the highest.
var<workgroup> ranges: array<vec3<u32>, ${channels}>;
${gridWgsl}
fn value_at(place: u32) -> vec4<f32> {
  return vec4<f32>(${components.map((_, c) => `images[place + ${c}u]`).join(", ")}${
    ", 0.0".repeat(4 - channels)
  });
}
fn levels_at(place: u32) -> vec4<u32> {
  return vec4<u32>(clamp(floor(value_at(place) + 0.5), vec4<f32>(0.0), vec4<f32>(255.0)));
}
fn grey(level: vec4<u32>) -> u32 {
  return ${
    channels === 3
      ? `(${
        GREY_SHARES.map((share, c) => `${share}u * level.${components[c]}`).join(" + ")
      }) / 10000u`
      : `(${components.map((c) => `level.${c}`).join(" + ")}) / ${channels}u`
  };
}
fn blend(share: f32, a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  let mixed = share * a + (1.0 - share) * b;
  return floor(clamp(mixed, vec4<f32>(0.0), vec4<f32>(255.0)) + ${ROUNDING});
}
fn table_of(operation: u32, magnitude: f32, level: u32, c: u32) -> u32 {
  let low = ranges[c].x;
  let high = ranges[c].y;
  switch operation {
    case AUTOCONTRAST: {
      if (high == low) { return level; }
      return 255u * (clamp(level, low, high) - low) / (high - low);
    }
    case EQUALIZE: {
      let step = ranges[c].z / 255u;
      if (step == 0u) { return level; }
      return min(255u, (atomicLoad(&table[c * 256u + level]) + step / 2u) / step);
    }
    case INVERT: { return 255u - level; }
    case POSTERIZE: { return level & ~((1u << (8u - u32(magnitude))) - 1u); }
    case SOLARIZE: { return select(level, 255u - level, f32(level) >= magnitude); }
    case CONTRAST: {
      let mean = f32(atomicLoad(&grey_sum)) / f32(u.height * u.width);
      return u32(blend(magnitude, vec4<f32>(f32(level)), vec4<f32>(mean)).x);
    }
    case BRIGHTNESS: { return u32(blend(magnitude, vec4<f32>(f32(level)), vec4<f32>()).x); }
    default: { return level; }
  }
}
fn looked_up(level: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(${
    components.map((c, k) => `f32(atomicLoad(&table[${256 * k}u + level.${c}]))`).join(", ")
  }${", 0.0".repeat(4 - channels)});
}
fn sharpened(start: u32, y: u32, x: u32, factor: f32) -> vec4<f32> {
  let place = start + (y * u.width + x) * ${channels}u;
  let level = levels_at(place);
  if (y == 0u || x == 0u || y + 1u >= u.height || x + 1u >= u.width) { return vec4<f32>(level); }
  var sum = 4u * level;
  for (var i = 0u; i < 9u; i++) {
    sum += levels_at(start + ((y + i / 3u - 1u) * u.width + x + i % 3u - 1u) * ${channels}u);
  }
  return blend(factor, vec4<f32>(level), vec4<f32>((2u * sum + 13u) / 26u));
}
// The point (x, y) of which the pixel is made.
fn source_of(operation: u32, magnitude: vec2<f32>, pixel: vec2<f32>) -> vec2<f32> {
  switch operation {
    case ROTATE: {
      let centre = (vec2<f32>(f32(u.width), f32(u.height)) - 1.0) / 2.0;
      let at = pixel - centre;
      return centre + vec2<f32>(
        magnitude.x * at.x - magnitude.y * at.y,
        magnitude.y * at.x + magnitude.x * at.y,
      );
    }
    case SHEAR_X: { return pixel + vec2<f32>(magnitude.x * (pixel.y + 0.5), 0.0); }
    case SHEAR_Y: { return pixel + vec2<f32>(0.0, magnitude.x * (pixel.x + 0.5)); }
    case TRANSLATE_X: { return pixel - vec2<f32>(magnitude.x, 0.0); }
    default: { return pixel - vec2<f32>(0.0, magnitude.x); }
  }
}
// Coverage counts twice at the edge, as on a host.
fn sampled(start: u32, at: vec2<f32>) -> vec4<f32> {
  let low = floor(at);
  let part = at - low;
  var sum = vec4<f32>();
  var covered = 0.0;
  for (var i = 0u; i < 4u; i++) {
    let corner = vec2<u32>(i & 1u, i >> 1u);
    let p = vec2<i32>(low) + vec2<i32>(corner);
    if (p.x < 0 || p.y < 0 || p.x >= i32(u.width) || p.y >= i32(u.height)) { continue; }
    let shares = select(1.0 - part, part, corner == vec2<u32>(1u));
    let share = shares.x * shares.y;
    sum += share * value_at(start + (u32(p.y) * u.width + u32(p.x)) * ${channels}u);
    covered += share;
  }
  return covered * sum + (1.0 - covered) * ${FILL}.0;
}
${gridMainWgsl(LANES)} {
  let image = block_of(workgroup, workgroups);
  if (image >= u.batch) { return; }
  let operation = ${hasOperations ? `u32(${row(0)})` : "IDENTITY"};
  let magnitude = ${hasOperations ? `vec2<f32>(${row(1)}, ${row(2)})` : "vec2<f32>()"};
  let pixels = u.height * u.width;
  let start = image * pixels * ${channels}u;
  for (var c = 0u; c < ${channels}u; c++) { atomicStore(&table[c * 256u + lane], 0u); }
  if (lane == 0u) { atomicStore(&grey_sum, 0u); }
  workgroupBarrier();
  if (operation == AUTOCONTRAST || operation == EQUALIZE) {
    for (var p = lane; p < pixels; p += ${LANES}u) {
      let level = levels_at(start + p * ${channels}u);
      ${
    components.map((c, k) => `atomicAdd(&table[${256 * k}u + level.${c}], 1u);`).join("\n      ")
  }
    }
  } else if (operation == CONTRAST) {
    var sum = 0u;
    for (var p = lane; p < pixels; p += ${LANES}u) {
      sum += grey(levels_at(start + p * ${channels}u));
    }
    atomicAdd(&grey_sum, sum);
  }
  workgroupBarrier();
  if (lane < ${channels}u && (operation == AUTOCONTRAST || operation == EQUALIZE)) {
    var range = vec3<u32>(256u, 0u, 0u);
    var below = 0u;
    for (var level = 0u; level < 256u; level++) {
      let count = atomicExchange(&table[lane * 256u + level], below);
      if (count > 0u) { range = vec3<u32>(min(range.x, level), level, below); }
      below += count;
    }
    ranges[lane] = range;
  }
  workgroupBarrier();
  if (operation >= AUTOCONTRAST && operation <= BRIGHTNESS) {
    for (var c = 0u; c < ${channels}u; c++) {
      let becomes = table_of(operation, magnitude.x, lane, c);
      atomicStore(&table[c * 256u + lane], becomes);
    }
  }
  workgroupBarrier();
  ${hasErased ? "let box = vec4<u32>(erased[image]);" : ""}
  for (var p = lane; p < pixels; p += ${LANES}u) {
    let place = start + p * ${channels}u;
    let x = p % u.width;
    let y = p / u.width;
    var value: vec4<f32>;
    if (operation == IDENTITY${channels === 3 ? "" : " || operation == COLOR"}) {
      value = value_at(place);
    } else if (operation <= BRIGHTNESS) {
      value = looked_up(levels_at(place));
    } else if (operation == COLOR) {
      let level = levels_at(place);
      value = blend(magnitude.x, vec4<f32>(level), vec4<f32>(f32(grey(level))));
    } else if (operation == SHARPNESS) {
      value = sharpened(start, y, x, magnitude.x);
    } else {
      value = sampled(start, source_of(operation, magnitude, vec2<f32>(f32(x), f32(y))));
    }
    ${isFinished ? "value = (value - u.mean) * u.inverse_deviation;" : ""}
    ${
    hasErased
      ? `if (y >= box.x && x >= box.y && y < box.z && x < box.w) { value = vec4<f32>(); }`
      : ""
  }
    ${components.map((c, k) => `made[place + ${k}u] = value.${c};`).join("\n    ")}
  }
}
`;
}
