import { assertEquals } from "@std/assert";
import { kindOf } from "../../../lib/data/image/kinds.ts";

/** Characters up to 255 as bytes. */
const bytes = (latin1: string) => Uint8Array.from(latin1, (letter) => letter.charCodeAt(0));

/** A TIFF file whose folder has one tag. */
function tiffWith(tag: number, value: number): Uint8Array {
  const file = new Uint8Array(26);
  const view = new DataView(file.buffer);
  file.set([0x4d, 0x4d, 0, 42, 0, 0, 0, 8]);
  view.setUint16(8, 1);
  view.setUint16(10, tag);
  view.setUint16(12, 4);
  view.setUint32(14, 1);
  view.setUint32(18, value);
  return file;
}

const box = (brands: string) => {
  const text = `\0\0\0${String.fromCharCode(16 + brands.length)}ftyp${brands.slice(0, 4)}`;
  return bytes(`${text}\0\0\0\0${brands}`);
};

const kinds: [string, Uint8Array][] = [
  ["PNG", bytes("\x89PNG\r\n\x1a\n")],
  ["JPEG", bytes("\xff\xd8\xff\xe0")],
  ["GIF", bytes("GIF87a")],
  ["WebP", bytes("RIFF\0\0\0\0WEBP")],
  ["BMP", bytes(`BM${"\0".repeat(12)}\x28\0\0\0`)],
  ["TIFF", bytes("II*\0\x08\0\0\0")],
  ["TIFF", tiffWith(254, 2)],
  ["AVIF", box("avif")],
  ["AVIF", box("mif1avif")],
  ["a HEIC image", box("heic")],
  ["a HEIC image", box("mif1heix")],
  ["a raw photograph of a camera (DNG, NEF, ARW or the like)", tiffWith(50_706, 1)],
  ["a raw photograph of a camera (DNG, NEF, ARW or the like)", tiffWith(254, 1)],
  ["a raw photograph of a Canon camera (CR2)", bytes("II*\0\x10\0\0\0CR\x02\0")],
  ["a raw photograph of a Canon camera (CR3)", box("crx ")],
  ["a raw photograph of a Fujifilm camera (RAF)", bytes("FUJIFILMCCD-RAW 0201")],
  ["a video", box("isom")],
  ["a video", bytes("\x1a\x45\xdf\xa3")],
  ["a JPEG-LS image", bytes("\xff\xd8\xff\xf7")],
  ["a JPEG XL image", bytes("\xff\x0a")],
  ["a JPEG 2000 image", bytes("\0\0\0\x0cjP  ")],
  ["a Photoshop document", bytes("8BPS")],
  ["an icon", bytes("\0\0\x01\0\x01\0")],
  ["a Netpbm image", bytes("P6\n1 1\n255\n")],
  ["a PDF document", bytes("%PDF-1.7")],
  ["a ZIP archive", bytes("PK\x03\x04")],
  ["an SVG drawing", bytes('  <?xml version="1.0"?>\n<svg>')],
  ["an SVG drawing", bytes("\xef\xbb\xbf<svg>")],
  ["an HTML page", bytes("\n<!DOCTYPE html><html>")],
  ["an XML document", bytes('<?xml version="1.0"?><a/>')],
  ["text", bytes("label,path\n")],
  ["text", new TextEncoder().encode("größe".repeat(3000))],
];

for (const [name, head] of kinds) {
  Deno.test(`${name} is known by its first bytes ${head.subarray(0, 8)}`, () => {
    const kind = kindOf(head);
    assertEquals("read" in kind ? kind.read : kind.other, name);
  });
}

Deno.test("what no table knows has no name", () => {
  for (
    const head of [new Uint8Array(9), bytes("\x01\x02\x03\x04"), bytes("BM a letter"), bytes("")]
  ) {
    const kind = kindOf(head);
    const name = "read" in kind ? kind.read : kind.other;
    assertEquals(name, head.length === 11 ? "text" : undefined);
  }
});
