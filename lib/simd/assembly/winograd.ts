/**
 * 3x3 convolutions by Winograd's algorithm F(4x4, 3x3) (Lavin and Gray, 2015): a tile of 4x4 pixels
 * of the result takes 36 multiplications instead of 144, between transforms that are only sums.
 *
 * Forward, y = A^T [(G g G^T) * (B^T d B)] A, where d are the 6x6 pixels that a tile y sees, g is the
 * kernel, and * means: each of the 36 points is a product of its own, `[tiles, channels] @
 * [channels, filters]`. The kernel's gradient is the same turned round, G^T [Σ (B^T d B) * (A dy A^T)] G,
 * summed over the tiles of all images before the last transform.
 *
 * A task takes as many images at a time as make a product worth packing. The 36 matrices of a side
 * lie a line of the cache further apart than they are long: a transform writes to all 36 at once, and
 * distances of a power of two would put all of them into the same few lines.
 */
import { poolImage, Stage } from "./convolution";
import { describe, DESCRIPTION, Product, product } from "./product";

const POINTS: i32 = 36;
const LINE: usize = 64;

/** A convolution of frames; sides are multiples of 4, and so are channels and filters. */
@unmanaged
export class Winograd {
  /** Images, without the border. */
  height: i32;
  width: i32;
  channels: i32;
  filters: i32;
  images: i32;
  /** Images of which a product takes all tiles. */
  imagesEach: i32;
  /** Images of a task. */
  imagesOfTask: i32;
  frame: i32;
  /** 36 matrices `[channels, filters]`: the kernel, or for the gradient each task's sums. */
  points: i32;
  /** The frame of dy; for the gradient alone. */
  upstream: i32;
  /** The result, `[images, height, width, filters]`. */
  to: i32;
}

/** Six values at B^T. */
@inline function toPoints(from: usize, step: usize, to: usize, pitch: usize): void {
  const x0 = v128.load(from), x1 = v128.load(from + step), x2 = v128.load(from + 2 * step);
  const x3 = v128.load(from + 3 * step), x4 = v128.load(from + 4 * step);
  const x5 = v128.load(from + 5 * step);
  const four = f32x4.splat(4), five = f32x4.splat(5);
  v128.store(to, f32x4.sub(f32x4.add(f32x4.mul(x0, four), x4), f32x4.mul(x2, five)));
  const even = f32x4.sub(x4, f32x4.mul(x2, four)), odd = f32x4.sub(x3, f32x4.mul(x1, four));
  v128.store(to + pitch, f32x4.add(even, odd));
  v128.store(to + 2 * pitch, f32x4.sub(even, odd));
  const apart = f32x4.sub(x4, x2), other = f32x4.sub(x3, x1), twice = f32x4.add(other, other);
  v128.store(to + 3 * pitch, f32x4.add(apart, twice));
  v128.store(to + 4 * pitch, f32x4.sub(apart, twice));
  v128.store(to + 5 * pitch, f32x4.sub(f32x4.add(f32x4.mul(x1, four), x5), f32x4.mul(x3, five)));
}

/** Six values at A^T, four. */
@inline function fromPoints(from: usize, step: usize, to: usize, pitch: usize): void {
  const m1 = v128.load(from + step), m2 = v128.load(from + 2 * step);
  const m3 = v128.load(from + 3 * step), m4 = v128.load(from + 4 * step);
  const sum = f32x4.add(m1, m2), difference = f32x4.sub(m1, m2);
  const sum2 = f32x4.add(m3, m4), difference2 = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(f32x4.add(v128.load(from), sum), sum2));
  v128.store(to + pitch, f32x4.add(difference, f32x4.add(difference2, difference2)));
  v128.store(to + 2 * pitch, f32x4.add(sum, f32x4.mul(sum2, f32x4.splat(4))));
  const last = f32x4.add(difference, f32x4.mul(difference2, f32x4.splat(8)));
  v128.store(to + 3 * pitch, f32x4.add(last, v128.load(from + 5 * step)));
}

/** Four values at A, six. */
@inline function spread(from: usize, step: usize, to: usize, pitch: usize): void {
  const e0 = v128.load(from), e1 = v128.load(from + step), e2 = v128.load(from + 2 * step);
  const e3 = v128.load(from + 3 * step);
  v128.store(to, e0);
  const even = f32x4.add(e0, e2), odd = f32x4.add(e1, e3);
  v128.store(to + pitch, f32x4.add(even, odd));
  v128.store(to + 2 * pitch, f32x4.sub(even, odd));
  const even4 = f32x4.add(e0, f32x4.mul(e2, f32x4.splat(4)));
  const odd8 = f32x4.add(f32x4.add(e1, e1), f32x4.mul(e3, f32x4.splat(8)));
  v128.store(to + 3 * pitch, f32x4.add(even4, odd8));
  v128.store(to + 4 * pitch, f32x4.sub(even4, odd8));
  v128.store(to + 5 * pitch, e3);
}

/** Three values of a kernel at G, six. */
@inline function kernelToPoints(from: usize, step: usize, to: usize, pitch: usize): void {
  const g0 = v128.load(from), g1 = v128.load(from + step), g2 = v128.load(from + 2 * step);
  const sixth = f32x4.splat(-1.0 / 6.0), sum = f32x4.add(g0, g2);
  v128.store(to, f32x4.mul(g0, f32x4.splat(0.25)));
  v128.store(to + pitch, f32x4.mul(f32x4.add(sum, g1), sixth));
  v128.store(to + 2 * pitch, f32x4.mul(f32x4.sub(sum, g1), sixth));
  const outer = f32x4.add(f32x4.mul(g0, f32x4.splat(1.0 / 24.0)), f32x4.mul(g2, f32x4.splat(1.0 / 6.0)));
  const inner = f32x4.mul(g1, f32x4.splat(1.0 / 12.0));
  v128.store(to + 3 * pitch, f32x4.add(outer, inner));
  v128.store(to + 4 * pitch, f32x4.sub(outer, inner));
  v128.store(to + 5 * pitch, g2);
}

/** Six sums at G^T, three values of a kernel. */
@inline function kernelFromPoints(from: usize, step: usize, to: usize, pitch: usize): void {
  const s1 = v128.load(from + step), s2 = v128.load(from + 2 * step);
  const s3 = v128.load(from + 3 * step), s4 = v128.load(from + 4 * step);
  const sixth = f32x4.splat(1.0 / 6.0);
  const near = f32x4.mul(f32x4.add(s1, s2), sixth), far = f32x4.add(s3, s4);
  const first = f32x4.sub(f32x4.mul(v128.load(from), f32x4.splat(0.25)), near);
  v128.store(to, f32x4.add(first, f32x4.mul(far, f32x4.splat(1.0 / 24.0))));
  const second = f32x4.mul(f32x4.sub(s2, s1), sixth);
  v128.store(to + pitch, f32x4.add(second, f32x4.mul(f32x4.sub(s3, s4), f32x4.splat(1.0 / 12.0))));
  const third = f32x4.sub(f32x4.mul(far, sixth), near);
  v128.store(to + 2 * pitch, f32x4.add(third, v128.load(from + 5 * step)));
}

/** Bytes of 36 times four floats between the two directions of a transform. */
const BETWEEN: usize = 576;

/** The points of a kernel's channel; `matrix` is `[9 * channels, filters]`, tap after tap. */
export function winogradKernelTask(
  channel: i32, scratch: usize, to: usize, matrix: usize, channels: i32, filters: i32,
): void {
  const tap = <usize>(channels * filters) * 4;
  const row = <usize>(channel * filters) * 4;
  for (let f: usize = 0; f < <usize>filters * 4; f += 16) {
    const from = matrix + row + f, at = to + row + f;
    for (let j: usize = 0; j < 3; j++) kernelToPoints(from + j * tap, 3 * tap, scratch + j * 16, 96);
    for (let i: usize = 0; i < 6; i++) kernelToPoints(scratch + i * 96, 16, at + 6 * i * tap, tap);
  }
}

/** A channel of a kernel's gradient, from the sums of so many tasks. */
export function winogradKernelGradTask(
  channel: i32, scratch: usize, matrix: usize, points: usize, tasks: i32, channels: i32, filters: i32,
): void {
  const tap = <usize>(channels * filters) * 4, all = <usize>POINTS * tap;
  const row = <usize>(channel * filters) * 4;
  const sums = scratch, between = scratch + BETWEEN;
  for (let f: usize = 0; f < <usize>filters * 4; f += 16) {
    for (let p: usize = 0; p < <usize>POINTS; p++) {
      let at = points + p * tap + row + f, sum = v128.load(at);
      for (let t = 1; t < tasks; t++) {
        at += all;
        sum = f32x4.add(sum, v128.load(at));
      }
      v128.store(sums + p * 16, sum);
    }
    for (let j: usize = 0; j < 6; j++) kernelFromPoints(sums + j * 16, 96, between + j * 16, 96);
    const to = matrix + row + f;
    for (let i: usize = 0; i < 3; i++) kernelFromPoints(between + i * 96, 16, to + 3 * i * tap, tap);
  }
}

@inline function tilesOf(w: Winograd): i32 {
  return (w.height >> 2) * (w.width >> 2);
}

/** Bytes from one point's matrix to the next. */
@inline function pitchOf(tiles: i32, channels: i32): usize {
  return <usize>(tiles * channels) * 4 + LINE;
}

/** The points of what all tiles of some images see, `[36, tiles, channels]`. */
function framesToPoints(w: Winograd, first: i32, count: i32, to: usize, between: usize): void {
  const pixel = <usize>w.channels * 4, row = <usize>(w.width + 2) * pixel;
  const point = pitchOf(count * tilesOf(w), w.channels);
  for (let image = first; image < first + count; image++) {
    for (let y = 0; y < w.height; y += 4) {
      let from = <usize>w.frame + <usize>(image * (w.height + 2) + y) * row;
      for (let x = 0; x < w.width; x += 4, from += 4 * pixel, to += pixel) {
        for (let c: usize = 0; c < pixel; c += 16) {
          for (let j: usize = 0; j < 6; j++) toPoints(from + c + j * pixel, row, between + j * 16, 96);
          for (let i: usize = 0; i < 6; i++) {
            toPoints(between + i * 96, 16, to + c + 6 * i * point, point);
          }
        }
      }
    }
  }
}

/** The points of the gradients of all tiles of some images, `[36, tiles, filters]`. */
function upstreamToPoints(w: Winograd, first: i32, count: i32, to: usize, between: usize): void {
  const pixel = <usize>w.filters * 4, row = <usize>(w.width + 2) * pixel;
  const point = pitchOf(count * tilesOf(w), w.filters);
  for (let image = first; image < first + count; image++) {
    for (let y = 0; y < w.height; y += 4) {
      let from = <usize>w.upstream + <usize>(image * (w.height + 2) + y + 1) * row + pixel;
      for (let x = 0; x < w.width; x += 4, from += 4 * pixel, to += pixel) {
        for (let c: usize = 0; c < pixel; c += 16) {
          for (let j: usize = 0; j < 4; j++) spread(from + c + j * pixel, row, between + j * 16, 64);
          for (let i: usize = 0; i < 6; i++) {
            spread(between + i * 64, 16, to + c + 6 * i * point, point);
          }
        }
      }
    }
  }
}

/** The pixels of some images, from `[36, tiles, filters]`. */
function pointsToPixels(w: Winograd, from: usize, to: usize, count: i32, between: usize): void {
  const pixel = <usize>w.filters * 4, row = <usize>w.width * pixel;
  const point = pitchOf(count * tilesOf(w), w.filters);
  for (let line = 0; line < count * w.height; line += 4, to += 4 * row) {
    let at = to;
    for (let x = 0; x < w.width; x += 4, at += 4 * pixel, from += pixel) {
      for (let c: usize = 0; c < pixel; c += 16) {
        for (let j: usize = 0; j < 6; j++) {
          fromPoints(from + c + j * point, 6 * point, between + j * 16, 96);
        }
        for (let i: usize = 0; i < 4; i++) {
          fromPoints(between + i * 96, 16, at + c + i * row, pixel);
        }
      }
    }
  }
}

/**
 * The convolution of some images.
 *
 * @param scratch Memory for a description, the points of both sides, and the products.
 */
function convolve(w: Winograd, first: i32, count: i32, to: usize, scratch: usize): void {
  const tiles = count * tilesOf(w);
  const seen = pitchOf(tiles, w.channels), made = pitchOf(tiles, w.filters);
  const between = scratch + DESCRIPTION, x = between + BETWEEN;
  const y = x + <usize>POINTS * seen, rest = y + <usize>POINTS * made;
  framesToPoints(w, first, count, x, between);
  const p = changetype<Product>(scratch);
  const row = w.channels * 4, pixel = w.filters * 4;
  for (let point: usize = 0; point < <usize>POINTS; point++) {
    describe(
      p, x + point * seen, row, 4, <usize>w.points + point * <usize>(w.channels * pixel), pixel, 4,
      y + point * made, pixel, tiles, w.filters, w.channels, 1,
    );
    product(p, 0, tiles, 0, w.filters, rest);
  }
  pointsToPixels(w, y, to, count, between);
}

/** The convolution of the images of a task. */
export function winogradTask(task: i32, scratch: usize, w: Winograd): void {
  const first = task * w.imagesEach, count = min(w.imagesEach, w.images - first);
  convolve(w, first, count, <usize>w.to + <usize>(first * w.height * w.width * w.filters) * 4, scratch);
}

/** Convolution, relu and pooling of the images of a task. */
export function winogradPoolTask(task: i32, scratch: usize, w: Winograd, s: Stage): void {
  const first = task * w.imagesEach, count = min(w.imagesEach, w.images - first);
  const size = <usize>(w.height * w.width * w.filters) * 4;
  convolve(w, first, count, scratch, scratch + <usize>w.imagesEach * size);
  for (let i = 0; i < count; i++) poolImage(first + i, scratch + <usize>i * size, s);
}

/** The sums of a task's images for the kernel's gradient, 36 matrices `[channels, filters]`. */
export function winogradGradTask(task: i32, scratch: usize, w: Winograd): void {
  const between = scratch + DESCRIPTION, x = between + BETWEEN;
  const p = changetype<Product>(scratch);
  const size = <usize>(w.channels * w.filters) * 4;
  const sums = <usize>w.points + <usize>(task * POINTS) * size;
  const start = task * w.imagesOfTask, end = min(w.images, start + w.imagesOfTask);
  for (let first = start; first < end; first += w.imagesEach) {
    const count = min(w.imagesEach, end - first), tiles = count * tilesOf(w);
    const seen = pitchOf(tiles, w.channels), given = pitchOf(tiles, w.filters);
    const dy = x + <usize>POINTS * seen, rest = dy + <usize>POINTS * given;
    framesToPoints(w, first, count, x, between);
    upstreamToPoints(w, first, count, dy, between);
    const row = w.channels * 4, pixel = w.filters * 4;
    for (let point: usize = 0; point < <usize>POINTS; point++) {
      describe(
        p, x + point * seen, 4, row, dy + point * given, pixel, 4,
        sums + point * size, pixel, w.channels, w.filters, tiles, 1,
      );
      p.adds = first > start;
      product(p, 0, w.channels, 0, w.filters, rest);
    }
  }
}
