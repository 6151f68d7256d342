// deno-lint-ignore-file no-control-regex -- signatures are of control characters
/**
 * What a file is, by its first bytes and never by its name: the kinds of pictures that we read, and
 * those that people take for one, so that an error can call them by name.
 */

/** The kinds of pictures that are read, in the order in which an error lists them. */
export const readKinds = ["PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "AVIF"] as const;

/** A kind of picture that is read. */
export type ReadKind = (typeof readKinds)[number];

/** Bytes looked at. */
const headBytes = 4096;

type Test = (head: Head) => boolean;

const starts = (text: string): Test => ({ latin1 }) => latin1.startsWith(text);
const at = (offset: number, text: string): Test => ({ latin1 }) => latin1.startsWith(text, offset);
const brand = (names: RegExp): Test => ({ brands }) => brands.some((name) => names.test(name));
const tiff: Test = ({ latin1 }) => /^(II[*+]\0|MM\0[*+])/.test(latin1);

const readTests: [ReadKind, Test][] = [
  ["PNG", starts("\x89PNG\r\n\x1a\n")],
  ["JPEG", starts("\xff\xd8")],
  ["GIF", ({ latin1 }) => /^GIF8[79]a/.test(latin1)],
  ["WebP", ({ latin1 }) => /^RIFF[^]{4}WEBP/.test(latin1)],
  ["BMP", ({ latin1 }) => /^BM[^]{8}[^]{4}[\x0c-\x7c]\0\0\0/.test(latin1)],
  ["TIFF", tiff],
  ["AVIF", brand(/^avi[fs]$/)],
];

/** Tried in this order, some before the kinds that are read since those have the same first bytes. */
const otherTests: [name: string, Test][] = [
  ["a raw photograph of a Canon camera (CR2)", (head) => tiff(head) && at(8, "CR")(head)],
  ["a raw photograph of a camera (DNG, NEF, ARW or the like)", isRawTiff],
  ["a JPEG-LS image", starts("\xff\xd8\xff\xf7")],
];

const laterTests: [name: string, Test][] = [
  ["a HEIC image", brand(/^(he[iv][cmsx]|hevc|mif[12]|msf1)$/)],
  ["a raw photograph of a Canon camera (CR3)", brand(/^crx /)],
  ["a video", ({ brands }) => brands.length > 0],
  ["a video", starts("\x1a\x45\xdf\xa3")],
  ["a video", ({ latin1 }) => /^RIFF[^]{4}AVI /.test(latin1)],
  ["a JPEG XL image", starts("\xff\x0a")],
  ["a JPEG XL image", starts("\0\0\0\x0cJXL ")],
  ["a JPEG 2000 image", starts("\0\0\0\x0cjP  ")],
  ["a JPEG 2000 image", starts("\xff\x4f\xff\x51")],
  ["a Photoshop document", starts("8BPS")],
  ["a GIMP document", starts("gimp xcf")],
  ["an icon", ({ latin1 }) => /^\0\0[\x01\x02]\0[^\0]\0/.test(latin1)],
  ["an Apple icon", starts("icns")],
  ["an OpenEXR image", starts("\x76\x2f\x31\x01")],
  ["a Radiance HDR image", starts("#?R")],
  ["a DDS texture", starts("DDS ")],
  ["a QOI image", starts("qoif")],
  ["a BPG image", starts("BPG\xfb")],
  ["a DjVu document", starts("AT&TFORM")],
  ["a FITS image", starts("SIMPLE  =")],
  ["a DICOM image", at(128, "DICM")],
  ["a PCX image", ({ latin1 }) => /^\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]/.test(latin1)],
  ["a Netpbm image", ({ latin1 }) => /^P[1-7]\s/.test(latin1)],
  ["a raw photograph of a Fujifilm camera (RAF)", starts("FUJIFILMCCD-RAW")],
  ["a raw photograph of an Olympus camera (ORF)", ({ latin1 }) => /^(IIR[OS]|MMOR)/.test(latin1)],
  ["a raw photograph of a Panasonic camera (RW2)", starts("IIU\0")],
  ["a raw photograph of a Sigma camera (X3F)", starts("FOVb")],
  ["a raw photograph of a Canon camera (CRW)", at(6, "HEAPCCDR")],
  ["a raw photograph of a Minolta camera (MRW)", starts("\0MRM")],
  ["a PDF document", starts("%PDF")],
  ["a PostScript document", starts("%!PS")],
  ["a Parquet file", starts("PAR1")],
  ["a NumPy file", starts("\x93NUMPY")],
  ["an HDF5 file", starts("\x89HDF\r\n\x1a\n")],
  ["a ZIP archive", starts("PK\x03\x04")],
  ["a gzip archive", starts("\x1f\x8b")],
  ["an XZ archive", starts("\xfd7zXZ\0")],
  ["a Zstandard archive", starts("\x28\xb5\x2f\xfd")],
  ["a TAR archive", at(257, "ustar")],
  ["an SVG drawing", ({ text }) => /^(<\?xml|<!--|<!doctype svg|<svg)[^]*<svg|^<svg/i.test(text)],
  ["an HTML page", ({ text }) => /^<(!doctype html|html|head|body|title|script|!--)/i.test(text)],
  ["an XML document", ({ text }) => text.startsWith("<?xml")],
  ["text", ({ text }) => text.trim() !== ""],
];

/** A file's kind: one that is read, or else what it is in words ("a HEIC image"), if known. */
export function kindOf(bytes: Uint8Array): { read: ReadKind } | { other: string | undefined } {
  const head = headOf(bytes);
  const name = (tests: [string, Test][]) => tests.find(([, test]) => test(head))?.[0];
  const before = name(otherTests);
  if (before !== undefined) return { other: before };
  const read = readTests.find(([, test]) => test(head))?.[0];
  return read === undefined ? { other: name(laterTests) } : { read };
}

/** A file's first bytes in the forms that the tests look at. */
interface Head {
  bytes: Uint8Array;
  latin1: string;
  /** What an ISO media file (HEIC, AVIF, MP4) says that it is; empty for others. */
  brands: string[];
  /** The characters, without white space in front; empty if it is not text. */
  text: string;
}

function headOf(bytes: Uint8Array): Head {
  const head = bytes.subarray(0, headBytes);
  const latin1 = latin1Of(head);
  return { bytes: head, latin1, brands: brandsOf(head, latin1), text: textOf(head) };
}

/** One character a byte; TextDecoder's "latin1" is another code. */
function latin1Of(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function brandsOf(head: Uint8Array, latin1: string): string[] {
  if (head.length < 12 || !latin1.startsWith("ftyp", 4)) return [];
  const end = Math.min(head.length, new DataView(head.buffer, head.byteOffset).getUint32(0));
  const brands = [latin1.slice(8, 12)];
  for (let offset = 16; offset + 4 <= end; offset += 4) {
    brands.push(latin1.slice(offset, offset + 4));
  }
  return brands;
}

function textOf(head: Uint8Array): string {
  try {
    // A character may be cut at the end of what is looked at.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(head, {
      stream: head.length === headBytes,
    });
    return /[\0-\x08\x0e-\x1a]/.test(text) ? "" : text.trimStart();
  } catch {
    return "";
  }
}

/** DNGVersion, which every DNG file has. */
const dngVersion = 50_706;
/** NewSubfileType, whose lowest bit marks a preview of another image in the file. */
const newSubfileType = 254;

/** Cameras keep the photograph elsewhere in a TIFF file, whose first image is a preview. */
function isRawTiff(head: Head): boolean {
  if (!tiff(head) || head.bytes.length < 10) return false;
  const { buffer, byteOffset, length } = head.bytes;
  const view = new DataView(buffer, byteOffset, length);
  const little = head.latin1.startsWith("II");
  const folder = view.getUint32(4, little);
  if (folder + 2 > length) return false;
  const count = view.getUint16(folder, little);
  for (let i = 0, entry = folder + 2; i < count && entry + 12 <= length; i++, entry += 12) {
    const tag = view.getUint16(entry, little);
    if (tag === dngVersion) return true;
    if (tag === newSubfileType && (view.getUint32(entry + 8, little) & 1) === 1) return true;
  }
  return false;
}
