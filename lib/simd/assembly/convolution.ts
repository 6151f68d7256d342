/** Stages of a convolutional tokenizer; see conv_tokens.ts for frames and places. */
import { DESCRIPTION, Product, product } from "./product";
import { loadUpTo, storeUpTo } from "./vectors";

/** The place of a window none of whose values is above 0. */
const NOWHERE: i32 = 9;

/** Sizes of a stage; sides are those before the pooling, channels filled up to a multiple of 4. */
@unmanaged
export class Stage {
  height: i32;
  width: i32;
  pooledHeight: i32;
  pooledWidth: i32;
  /** Filled up. */
  filters: i32;
  /** Floats of a pixel of y. */
  columns: i32;
  /** Pixels around y: 1 where it is a frame. */
  border: i32;
  /** The pooled images. */
  y: i32;
  places: i32;
  /** The gradient of y, row by row without a border. */
  dy: i32;
  /** The gradient of the convolution, a frame. */
  dz: i32;
}

/**
 * Convolution, relu and pooling of one image.
 *
 * @param p The convolution of one image, its C in the scratch memory.
 */
export function convPoolTask(image: i32, scratch: usize, shared: Product, s: Stage): void {
  const p = changetype<Product>(scratch);
  memory.copy(scratch, changetype<usize>(shared), offsetof<Product>());
  const pixels = s.height * s.width;
  const z = scratch + DESCRIPTION, rest = z + <usize>(pixels * s.filters) * 4;
  p.aBase = shared.aBase + image * shared.aImage;
  p.cBase = <i32>z;
  product(p, 0, pixels, 0, s.filters, rest);
  poolImage(image, z, s);
}

/** Relu and pooling of an image's convolution. */
export function poolImage(image: i32, z: usize, s: Stage): void {
  const filters = s.filters;
  const rowPitch = s.pooledWidth + 2 * s.border;
  const none = f32x4.splat(0), nowhere = i32x4.splat(NOWHERE);
  for (let py = 0; py < s.pooledHeight; py++) {
    const firstRow = max(0, 2 * py - 1), endRow = min(s.height, 2 * py + 2);
    for (let px = 0; px < s.pooledWidth; px++) {
      const firstColumn = max(0, 2 * px - 1), endColumn = min(s.width, 2 * px + 2);
      const pixel = (image * s.pooledHeight + py) * s.pooledWidth + px;
      const row = (image * (s.pooledHeight + 2 * s.border) + py + s.border) * rowPitch;
      const to = <usize>s.y + <usize>((row + px + s.border) * s.columns) * 4;
      const place = <usize>s.places + <usize>(pixel * filters);
      for (let c = 0; c < filters; c += 4) {
        let best = none, where = nowhere;
        for (let y = firstRow; y < endRow; y++) {
          let at = z + <usize>((y * s.width + firstColumn) * filters + c) * 4;
          let tap = (y - 2 * py + 1) * 3 + firstColumn - 2 * px + 1;
          for (let x = firstColumn; x < endColumn; x++, at += <usize>filters * 4, tap++) {
            const value = v128.load(at);
            // Takes a NaN and keeps it: a weight that is not finite must reach the loss.
            const stays = v128.or(f32x4.le(value, best), f32x4.ne(best, best));
            best = v128.bitselect(best, value, stays);
            where = v128.bitselect(where, i32x4.splat(tap), stays);
          }
        }
        if (c < s.columns) storeUpTo(to + <usize>c * 4, best, s.columns - c);
        const bytes = i8x16.shuffle(where, where, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
        store<i32>(place + c, i32x4.extract_lane(bytes, 0));
      }
    }
  }
}

/** The gradient through pooling and relu of one image, as a frame. */
export function poolGradTask(image: i32, scratch: usize, s: Stage): void {
  const filters = s.filters, pitch = s.width + 2, bytes = <usize>filters * 4;
  const frame = <usize>s.dz + <usize>(image * (s.height + 2) * pitch) * bytes;
  memory.fill(frame, 0, <usize>((s.height + 2) * pitch) * bytes);
  for (let py = 0; py < s.pooledHeight; py++) {
    for (let px = 0; px < s.pooledWidth; px++) {
      const pixel = (image * s.pooledHeight + py) * s.pooledWidth + px;
      const from = <usize>s.dy + <usize>(pixel * s.columns) * 4;
      const place = <usize>s.places + <usize>(pixel * filters);
      // Of the window's first pixel; the border takes what lies outside, which no place names.
      const start = frame + <usize>(2 * py * pitch + 2 * px) * bytes;
      for (let c = 0; c < filters; c += 4) {
        const taps = load<i32>(place + c);
        // All four nowhere.
        if (taps == 0x09090909) continue;
        const where = i32x4(taps & 255, taps >> 8 & 255, taps >> 16 & 255, taps >> 24 & 255);
        const given = c < s.columns ? loadUpTo(from + <usize>c * 4, s.columns - c) : f32x4.splat(0);
        let tap = 0;
        for (let y = 0; y < 3; y++) {
          let at = start + <usize>(y * pitch) * bytes + <usize>c * 4;
          for (let x = 0; x < 3; x++, at += bytes, tap++) {
            const hit = i32x4.eq(where, i32x4.splat(tap));
            if (v128.any_true(hit)) {
              v128.store(at, f32x4.add(v128.load(at), v128.and(given, hit)));
            }
          }
        }
      }
    }
  }
}

/** The frame of one image, its channels filled up with zeros. */
export function frameTask(
  image: i32, scratch: usize, to: usize, from: usize, height: i32, width: i32, channels: i32, filled: i32,
): void {
  const pitch = <usize>((width + 2) * filled) * 4;
  let row = to + <usize>image * <usize>(height + 2) * pitch;
  let pixel = from + <usize>(image * height * width * channels) * 4;
  memory.fill(row, 0, <usize>(height + 2) * pitch);
  for (let y = 0; y < height; y++) {
    row += pitch;
    let at = row + <usize>filled * 4;
    for (let x = 0; x < width; x++, at += <usize>filled * 4, pixel += <usize>channels * 4) {
      for (let c = 0; c < channels; c += 4) {
        storeUpTo(at + <usize>c * 4, loadUpTo(pixel + <usize>c * 4, channels - c), channels - c);
      }
    }
  }
}
