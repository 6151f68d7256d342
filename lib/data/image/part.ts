/**
 * 1, 2, 4 or 8: the part of its size at which a JPEG may be decoded, such that both sides keep
 * `atLeast` pixels. Its blocks are of 8 pixels, so each of these is a cheaper way through the decoder.
 * @param from the least that will do
 */
export function jpegPartOf(
  { width, height }: { width: number; height: number },
  atLeast: number,
  from = 1,
): number {
  let part = from;
  while (part < 8 && Math.min(width, height) / (2 * part) >= atLeast) part *= 2;
  return part;
}
