/**
 * Matrix products.
 *
 * Deno compiles WebAssembly with an explicit bounds check at each access to memory, so what a
 * product costs is loads: a tile of 4 rows by 8 columns takes three for 8 multiply-adds (four of A,
 * from which four shuffles make the factors, and eight of B), and reaches nine tenths of what
 * four-lane multiply-adds can do; broadcasting loads from rows of A reach half of it.
 *
 * Both operands are packed so that the inner loop walks them one after the other: columns of B in
 * panels of 8, once a task; rows of A in blocks of 4, once for all panels. Sums are made in pieces of at most LONGEST terms,
 * which keep a panel in the first-level cache. An element's terms are added in the same order in
 * whatever task it lies.
 */
import { loadSome, storeSome } from "./vectors";

/** Terms of a sum that are added before the result is written. */
const LONGEST: i32 = 576;

/**
 * A product C = alpha * A @ B (+ C), A `[rows, depth]`, B `[depth, columns]`, all strides in bytes.
 * Row m of A or C begins at base + m * row + m / inner * skip + m / outer * outerSkip: of images
 * with a border, rows of pixels and images are skips. The depth is `images` times `segments` times
 * `count`.
 */
@unmanaged
export class Product {
  aBase: i32;
  aRow: i32;
  aInner: i32;
  aSkip: i32;
  aOuter: i32;
  aOuterSkip: i32;
  aStep: i32;
  aSegment: i32;
  aImage: i32;
  bBase: i32;
  bStep: i32;
  bSegment: i32;
  bImage: i32;
  bColumn: i32;
  cBase: i32;
  cRow: i32;
  cInner: i32;
  cSkip: i32;
  cOuter: i32;
  cOuterSkip: i32;
  rows: i32;
  columns: i32;
  count: i32;
  segments: i32;
  images: i32;
  alpha: f32;
  /** Whether C is added to. */
  adds: i32;
}

/** Bytes that a task keeps for a description of its own. */
export const DESCRIPTION: usize = 128;

/** Describes a product of matrices without skips, whose C is not added to; strides in bytes. */
export function describe(
  p: Product, a: usize, aRow: i32, aStep: i32, b: usize, bStep: i32, bColumn: i32,
  c: usize, cRow: i32, rows: i32, columns: i32, count: i32, alpha: f32,
): void {
  const most = 0x7ffffffc;
  p.aBase = <i32>a;
  p.aRow = aRow;
  p.aInner = most;
  p.aSkip = 0;
  p.aOuter = most;
  p.aOuterSkip = 0;
  p.aStep = aStep;
  p.aSegment = 0;
  p.aImage = 0;
  p.bBase = <i32>b;
  p.bStep = bStep;
  p.bSegment = 0;
  p.bImage = 0;
  p.bColumn = bColumn;
  p.cBase = <i32>c;
  p.cRow = cRow;
  p.cInner = most;
  p.cSkip = 0;
  p.cOuter = most;
  p.cOuterSkip = 0;
  p.rows = rows;
  p.columns = columns;
  p.count = count;
  p.segments = 1;
  p.images = 1;
  p.alpha = alpha;
  p.adds = 0;
}

@inline function placeOf(at: usize, m: i32): usize {
  return load<i32>(at) + m * load<i32>(at, 4) + m / load<i32>(at, 8) * load<i32>(at, 12) +
    m / load<i32>(at, 16) * load<i32>(at, 20);
}
@inline export function placeOfA(p: Product, m: i32): usize {
  return placeOf(changetype<usize>(p) + offsetof<Product>("aBase"), m);
}
@inline export function placeOfC(p: Product, m: i32): usize {
  return placeOf(changetype<usize>(p) + offsetof<Product>("cBase"), m);
}

/** Four rows of four floats, turned. */
@inline function turn(to: usize, pitch: usize, r0: v128, r1: v128, r2: v128, r3: v128): void {
  const low01 = i32x4.shuffle(r0, r1, 0, 4, 1, 5);
  const high01 = i32x4.shuffle(r0, r1, 2, 6, 3, 7);
  const low23 = i32x4.shuffle(r2, r3, 0, 4, 1, 5);
  const high23 = i32x4.shuffle(r2, r3, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(low01, low23, 0, 2));
  v128.store(to + pitch, i64x2.shuffle(low01, low23, 1, 3));
  v128.store(to + 2 * pitch, i64x2.shuffle(high01, high23, 0, 2));
  v128.store(to + 3 * pitch, i64x2.shuffle(high01, high23, 1, 3));
}

/** `count` floats that follow one another in each of four rows, as `count` times four floats. */
function packTurned(to: usize, pitch: usize, a0: usize, a1: usize, a2: usize, a3: usize, count: i32): void {
  let left = count;
  while (left >= 4) {
    turn(to, pitch, v128.load(a0), v128.load(a1), v128.load(a2), v128.load(a3));
    a0 += 16;
    a1 += 16;
    a2 += 16;
    a3 += 16;
    to += 4 * pitch;
    left -= 4;
  }
  while (left-- > 0) {
    store<f32>(to, load<f32>(a0));
    store<f32>(to, load<f32>(a1), 4);
    store<f32>(to, load<f32>(a2), 8);
    store<f32>(to, load<f32>(a3), 12);
    a0 += 4;
    a1 += 4;
    a2 += 4;
    a3 += 4;
    to += pitch;
  }
}

/** Any four rows whose floats are `step` apart. */
function packApart(to: usize, a0: usize, a1: usize, a2: usize, a3: usize, step: usize, count: i32): void {
  while (count-- > 0) {
    store<f32>(to, load<f32>(a0));
    store<f32>(to, load<f32>(a1), 4);
    store<f32>(to, load<f32>(a2), 8);
    store<f32>(to, load<f32>(a3), 12);
    a0 += step;
    a1 += step;
    a2 += step;
    a3 += step;
    to += 16;
  }
}

/** Columns `first` to below `end` of a piece of B in panels of 8, filled up with zeros. */
function packB(p: Product, from: usize, count: i32, segments: i32, first: i32, end: i32, to: usize): void {
  const step = <usize>p.bStep, segment = <usize>p.bSegment, column = <usize>p.bColumn;
  for (let n = first; n < end; n += 8) {
    const width = min(8, end - n);
    for (let s = 0; s < segments; s++) {
      let row = from + <usize>s * segment + <usize>n * column;
      if (column == 4) {
        if (width == 8) {
          for (let k = 0; k < count; k++, row += step, to += 32) {
            v128.store(to, v128.load(row));
            v128.store(to, v128.load(row, 16), 16);
          }
        } else {
          for (let k = 0; k < count; k++, row += step, to += 32) {
            v128.store(to, width >= 4 ? v128.load(row) : loadSome(row, width));
            v128.store(to, width > 4 ? loadSome(row + 16, width - 4) : f32x4.splat(0), 16);
          }
        }
      } else if (step == 4 && width == 8) {
        packTurned(to, 32, row, row + column, row + 2 * column, row + 3 * column, count);
        row += 4 * column;
        packTurned(to + 16, 32, row, row + column, row + 2 * column, row + 3 * column, count);
        to += <usize>count * 32;
      } else {
        for (let k = 0; k < count; k++, row += step, to += 32) {
          for (let j = 0; j < 8; j++) {
            store<f32>(to + 4 * j, j < width ? load<f32>(row + <usize>j * column) : 0);
          }
        }
      }
    }
  }
}

@inline function put(c: usize, low: v128, high: v128, alpha: v128, width: i32, adds: bool): void {
  low = f32x4.mul(low, alpha);
  high = f32x4.mul(high, alpha);
  if (width == 8) {
    if (adds) {
      low = f32x4.add(low, v128.load(c));
      high = f32x4.add(high, v128.load(c, 16));
    }
    v128.store(c, low);
    v128.store(c, high, 16);
  } else putSome(c, low, high, width, adds);
}

function putSome(c: usize, low: v128, high: v128, width: i32, adds: bool): void {
  if (width < 4) {
    if (adds) low = f32x4.add(low, loadSome(c, width));
    storeSome(c, low, width);
    return;
  }
  if (adds) low = f32x4.add(low, v128.load(c));
  v128.store(c, low);
  if (width == 4) return;
  if (adds) high = f32x4.add(high, loadSome(c + 16, width - 4));
  storeSome(c + 16, high, width - 4);
}

/** A tile of C; `valid` of its rows and `width` of its columns are there. */
function tile(
  c0: usize, c1: usize, c2: usize, c3: usize, valid: i32, width: i32, adds: bool, alpha: f32,
  a: usize, b: usize, count: i32,
): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00;
  let c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  for (let k = count; k > 0; k--) {
    const x = v128.load(a), b0 = v128.load(b), b1 = v128.load(b, 16);
    let factor = i32x4.shuffle(x, x, 0, 0, 0, 0);
    c00 = f32x4.relaxed_madd(factor, b0, c00);
    c01 = f32x4.relaxed_madd(factor, b1, c01);
    factor = i32x4.shuffle(x, x, 1, 1, 1, 1);
    c10 = f32x4.relaxed_madd(factor, b0, c10);
    c11 = f32x4.relaxed_madd(factor, b1, c11);
    factor = i32x4.shuffle(x, x, 2, 2, 2, 2);
    c20 = f32x4.relaxed_madd(factor, b0, c20);
    c21 = f32x4.relaxed_madd(factor, b1, c21);
    factor = i32x4.shuffle(x, x, 3, 3, 3, 3);
    c30 = f32x4.relaxed_madd(factor, b0, c30);
    c31 = f32x4.relaxed_madd(factor, b1, c31);
    a += 16;
    b += 32;
  }
  const factor = f32x4.splat(alpha);
  put(c0, c00, c01, factor, width, adds);
  if (valid > 1) put(c1, c10, c11, factor, width, adds);
  if (valid > 2) put(c2, c20, c21, factor, width, adds);
  if (valid > 3) put(c3, c30, c31, factor, width, adds);
}

/**
 * Rows and columns of a product.
 *
 * @param scratch Bytes for min(depth, max(LONGEST, count)) times four rows and the columns, filled up
 * to a multiple of 8.
 */
export function product(
  p: Product, firstRow: i32, endRow: i32, firstColumn: i32, endColumn: i32, scratch: usize,
): void {
  const step = <usize>p.aStep, segment = <usize>p.aSegment;
  const isWhole = p.segments > 1;
  const longest = isWhole ? p.count : min(p.count, LONGEST);
  const most = isWhole ? max(1, LONGEST / p.count) : 1;
  // Four rows of A that lie side by side are one load.
  const isTurned = p.aRow == 4 && step != 4 && p.aInner % 4 == 0 && p.aOuter % 4 == 0;
  const alpha = p.alpha;
  let adds = p.adds != 0;
  for (let image = 0; image < p.images; image++) {
    for (let s = 0; s < p.segments; s += most) {
      const segments = min(most, p.segments - s);
      for (let k = 0; k < p.count; k += longest) {
        const count = min(longest, p.count - k);
        const total = count * segments;
        const packedA = scratch, packedB = scratch + <usize>total * 16;
        packB(
          p, <usize>(p.bBase + image * p.bImage + s * p.bSegment + k * p.bStep),
          count, segments, firstColumn, endColumn, packedB,
        );
        const base = <usize>image * <usize>p.aImage + <usize>s * segment + <usize>k * step;
        for (let m = firstRow; m < endRow; m += 4) {
          const valid = min(4, endRow - m), last = endRow - 1;
          let to = packedA, a0 = base + placeOfA(p, m);
          if (isTurned && valid == 4) {
            for (let n = 0; n < segments; n++) {
              let from = a0;
              for (let t = count; t > 0; t--) {
                v128.store(to, v128.load(from));
                from += step;
                to += 16;
              }
              a0 += segment;
            }
          } else {
            let a1 = base + placeOfA(p, min(m + 1, last));
            let a2 = base + placeOfA(p, min(m + 2, last));
            let a3 = base + placeOfA(p, min(m + 3, last));
            for (let n = 0; n < segments; n++) {
              if (step == 4) packTurned(to, 16, a0, a1, a2, a3, count);
              else packApart(to, a0, a1, a2, a3, step, count);
              to += <usize>count * 16;
              a0 += segment;
              a1 += segment;
              a2 += segment;
              a3 += segment;
            }
          }
          let b = packedB;
          // Where rows begin takes divisions: once for all columns.
          const first = <usize>firstColumn * 4;
          let c0 = placeOfC(p, m) + first;
          let c1 = placeOfC(p, min(m + 1, last)) + first;
          let c2 = placeOfC(p, min(m + 2, last)) + first;
          let c3 = placeOfC(p, min(m + 3, last)) + first;
          for (let n = firstColumn; n < endColumn; n += 8) {
            tile(c0, c1, c2, c3, valid, min(8, endColumn - n), adds, alpha, packedA, b, total);
            c0 += 32;
            c1 += 32;
            c2 += 32;
            c3 += 32;
            b += <usize>total * 32;
          }
        }
        adds = true;
      }
    }
  }
}
