/** The WGSL of convolution stages beside their matrix products. */
import { gridMainWgsl, gridWgsl } from "../grid.ts";

/** Threads of a workgroup. */
export const LANES = 64;

/**
 * Row, column and image of a frame's `pixel`. Those of the border wrap around, to more than any side.
 *
 * @param sizes what stands before `height` and `width` in the uniform's names
 */
function pixelOfFrame(row: string, column: string, sizes = ""): string {
  const [height, width] = [`(u.${sizes}height + 2u)`, `(u.${sizes}width + 2u)`];
  return `let ${column} = pixel % ${width} - 1u;
  let ${row} = pixel / ${width} % ${height} - 1u;
  let image = pixel / (${width} * ${height});`;
}

/** Images `[batch, height, width, channels]` to a frame, an element a thread. */
export const frameWgsl = /* wgsl */ `
struct Uniforms { size: u32, height: u32, width: u32, channels: u32, filled: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> frame: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
${gridWgsl}${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.size) { return; }
  let c = i % u.filled;
  let pixel = i / u.filled;
  ${pixelOfFrame("row", "column")}
  if (c < u.channels && row < u.height && column < u.width) {
    frame[i] = x[((image * u.height + row) * u.width + column) * u.channels + c];
  } else { frame[i] = 0.0; }
}
`;

/**
 * Another order of a kernel's elements: to `[9, rows, columns]`, zero where the source has nothing.
 * One module fills kernels up, turns them for the gradient of the input, and cuts gradients.
 */
export const rearrangeWgsl = /* wgsl */ `
struct Uniforms {
  size: u32, rows: u32, columns: u32, row_end: u32, column_end: u32,
  first_tap: u32, tap_stride: i32, row_stride: u32, column_stride: u32,
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
${gridWgsl}${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.size) { return; }
  let column = i % u.columns;
  let row = i / u.columns % u.rows;
  let tap = i32(i / u.columns / u.rows);
  if (row < u.row_end && column < u.column_end) {
    y[i] = x[u32(i32(u.first_tap) + tap * u.tap_stride) + row * u.row_stride + column * u.column_stride];
  } else { y[i] = 0.0; }
}
`;

/**
 * relu and max pooling, four filters a thread, with the place of the largest value in each window.
 * A place is taken only above 0 and above all before it, so relu needs no step of its own; or by a
 * NaN, which stays, so that a weight that is not finite reaches the loss.
 *
 * @param toFrame whether the result is a frame, else `[…, filters]`
 * @param width elements of a store where it is no frame
 */
export function poolWgsl(toFrame: boolean, width: 1 | 4): string {
  const taps = Array.from({ length: 9 }, (_, tap) => {
    const [dy, dx] = [Math.floor(tap / 3), tap % 3];
    return `{
    let inside = rows.${"xyz"[dy]} < u.height && columns.${"xyz"[dx]} < u.width;
    let v = z[(start.${"xyz"[dy]} + min(columns.${"xyz"[dx]}, u.width - 1u)) * u.vectors + c];
    let better = vec4<bool>(inside) & ((v > best) | is_nan(v));
    best = select(best, v, better);
    place = select(place, vec4<u32>(${tap}u), better);
  }`;
  });
  return /* wgsl */ `
struct Uniforms {
  size: u32, height: u32, width: u32, pooled_height: u32, pooled_width: u32, vectors: u32, filters: u32,
}
@group(0) @binding(0) var<storage, read> z: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<${
    toFrame || width === 4 ? "vec4<f32>" : "f32"
  }>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${gridWgsl}
// By its bits: drivers may take any comparison for true of numbers.
fn is_nan(v: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}
${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.size) { return; }
  let c = i % u.vectors;
  let pixel = i / u.vectors;
  ${
    toFrame
      ? `${pixelOfFrame("py", "px", "pooled_")}
  if (px >= u.pooled_width || py >= u.pooled_height) {
    y[i] = vec4<f32>();
    return;
  }`
      : `let px = pixel % u.pooled_width;
  let py = pixel / u.pooled_width % u.pooled_height;
  let image = pixel / (u.pooled_width * u.pooled_height);`
  }
  // Wraps around above and left of the image, to more than any side.
  let rows = 2u * py + vec3<u32>(0u, 1u, 2u) - 1u;
  let columns = 2u * px + vec3<u32>(0u, 1u, 2u) - 1u;
  let start = (image * u.height + min(rows, vec3<u32>(u.height - 1u))) * u.width;
  var best = vec4<f32>();
  var place = vec4<u32>(9u);
  ${taps.join("\n  ")}
  ${
    toFrame || width === 4
      ? "y[i] = best;"
      : `for (var e = 0u; e < min(4u, u.filters - 4u * c); e++) {
    y[pixel * u.filters + 4u * c + e] = best[e];
  }`
  }
  let bytes = place << vec4<u32>(0u, 8u, 16u, 24u);
  places[((image * u.pooled_height + py) * u.pooled_width + px) * u.vectors + c] =
    bytes.x | bytes.y | bytes.z | bytes.w;
}
`;
}

/**
 * The gradient through pooling and relu, as a frame. A thread makes two by two pixels of the frame,
 * which the same two by two windows cover: a pixel of an odd row or column lies in two of them, another
 * in the later one alone. Each is loaded once, and asked by each pixel that lies in it whether that was
 * its largest.
 *
 * @param width elements of a load of the upstream gradient
 */
export function poolGradWgsl(width: 1 | 4): string {
  const both = [0, 1];
  const windows = both.flatMap((j) =>
    both.map((i) =>
      `let inside${j}${i} = rows.${"xy"[j]} < u.pooled_height && columns.${
        "xy"[i]
      } < u.pooled_width;
  var place${j}${i} = vec4<u32>(9u);
  var value${j}${i} = vec4<f32>();
  if (inside${j}${i}) {
    let window = (image * u.pooled_height + rows.${"xy"[j]}) * u.pooled_width + columns.${"xy"[i]};
    place${j}${i} = (vec4<u32>(places[window * u.vectors + c]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    value${j}${i} = upstream(window, c);
  }`
    )
  );
  // Of the block's first row or column, and its second: the place in each of the two windows.
  const taps = [[2, 0], [undefined, 1]] as const;
  const pixels = both.flatMap((y) =>
    both.map((x) => {
      const terms = both.flatMap((j) =>
        both.map((i) => {
          const [down, right] = [taps[y]![j], taps[x]![i]];
          if (down === undefined || right === undefined) return "";
          const place = `vec4<u32>(${3 * down + right}u)`;
          return `sum += select(vec4<f32>(), value${j}${i}, place${j}${i} == ${place});`;
        })
      );
      return `if (top + ${y}u < u.height + 2u && left + ${x}u < u.width + 2u) {
    var sum = vec4<f32>();
    if (top + ${y}u - 1u < u.height && left + ${x}u - 1u < u.width) {
      ${terms.filter((term) => term !== "").join("\n      ")}
    }
    dz[((image * (u.height + 2u) + top + ${y}u) * (u.width + 2u) + left + ${x}u) * u.vectors + c] = sum;
  }`;
    })
  );
  return /* wgsl */ `
struct Uniforms {
  size: u32, height: u32, width: u32, pooled_height: u32, pooled_width: u32, vectors: u32, columns: u32,
}
@group(0) @binding(0) var<storage, read> dy: array<${width === 4 ? "vec4<f32>" : "f32"}>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> dz: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${gridWgsl}
fn upstream(row: u32, c: u32) -> vec4<f32> {
  ${
    width === 4 ? "return dy[row * (u.columns / 4u) + c];" : `var value = vec4<f32>();
  for (var e = 0u; e < min(4u, u.columns - 4u * c); e++) {
    value[e] = dy[row * u.columns + 4u * c + e];
  }
  return value;`
  }
}
${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.size) { return; }
  let c = i % u.vectors;
  let block = i / u.vectors;
  let across = (u.width + 3u) / 2u;
  let down = (u.height + 3u) / 2u;
  let column = block % across;
  let row = block / across % down;
  let image = block / (across * down);
  // Wraps around before the first, to more than any side.
  let rows = vec2<u32>(row - 1u, row);
  let columns = vec2<u32>(column - 1u, column);
  let top = 2u * row;
  let left = 2u * column;
  ${windows.join("\n  ")}
  ${pixels.join("\n  ")}
}
`;
}

/**
 * A module in which numbers of the uniform are constants. Integers are divided one lane after another
 * on a software adapter, unless the divisor is known when it compiles; a GPU needs no module for each
 * size.
 */
export function withConstants(wgsl: string, numbers: Record<string, number>): string {
  return Object.entries(numbers).reduce(
    (text, [name, value]) => text.replace(new RegExp(`\\bu\\.${name}\\b`, "g"), `${value}u`),
    wgsl,
  );
}
