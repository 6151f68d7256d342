/**
 * A reader of event files that shares nothing with their writer: it takes records apart byte by byte
 * as the formats are described (TFRecord; Protocol Buffers' wire format) and checks both checksums
 * with a table-free CRC-32C.
 */
import { assertEquals } from "@std/assert";

/** A value of a summary. */
export interface ReadValue {
  tag: string;
  simpleValue?: number;
  image?: { width: number; height: number; png: Uint8Array };
  strings: string[];
  plugin?: string;
}

/** An event. */
export interface ReadEvent {
  wallTime: number;
  step: number;
  fileVersion?: string;
  sessionStatus?: number;
  values: ReadValue[];
}

type Fields = Map<number, (number | Uint8Array)[]>;

/** The events of a file, whose every checksum must be right. */
export function readEvents(bytes: Uint8Array): ReadEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const events: ReadEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    assertEquals(view.getUint32(at + 8, true), masked(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    assertEquals(data.length, length, "the file is cut");
    assertEquals(view.getUint32(at + 12 + length, true), masked(data));
    events.push(eventOf(data));
    at += 16 + length;
  }
  return events;
}

function eventOf(data: Uint8Array): ReadEvent {
  const fields = fieldsOf(data);
  const summary = bytesOf(fields, 5);
  const session = bytesOf(fields, 7);
  return {
    wallTime: fields.get(1)![0] as number,
    step: numberOf(fields, 2) ?? 0,
    fileVersion: textOf(fields, 3),
    sessionStatus: session && numberOf(fieldsOf(session), 1),
    values: summary ? (fieldsOf(summary).get(1) as Uint8Array[]).map(valueOf) : [],
  };
}

function valueOf(data: Uint8Array): ReadValue {
  const fields = fieldsOf(data);
  const [image, tensor, metadata] = [4, 8, 9].map((id) => bytesOf(fields, id));
  const plugin = metadata && bytesOf(fieldsOf(metadata), 1);
  const picture = image && fieldsOf(image);
  return {
    tag: textOf(fields, 1)!,
    simpleValue: numberOf(fields, 2),
    image: picture && {
      height: numberOf(picture, 1)!,
      width: numberOf(picture, 2)!,
      png: bytesOf(picture, 4)!,
    },
    strings: tensor
      ? (fieldsOf(tensor).get(8) as Uint8Array[]).map((text) => new TextDecoder().decode(text))
      : [],
    plugin: plugin && textOf(fieldsOf(plugin), 1),
  };
}

function fieldsOf(data: Uint8Array): Fields {
  const fields: Fields = new Map();
  const view = new DataView(data.buffer, data.byteOffset);
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1;; shift *= 128) {
      const byte = data[at++]!;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = varint();
    const kind = key % 8;
    let value: number | Uint8Array;
    if (kind === 0) value = varint();
    else if (kind === 1) value = view.getFloat64((at += 8) - 8, true);
    else if (kind === 5) value = view.getFloat32((at += 4) - 4, true);
    else {
      assertEquals(kind, 2, "an unknown kind of field");
      const length = varint();
      value = data.subarray(at, at += length);
    }
    const id = Math.floor(key / 8);
    fields.set(id, [...fields.get(id) ?? [], value]);
  }
  return fields;
}

function bytesOf(fields: Fields, id: number): Uint8Array | undefined {
  return fields.get(id)?.[0] as Uint8Array | undefined;
}

function numberOf(fields: Fields, id: number): number | undefined {
  return fields.get(id)?.[0] as number | undefined;
}

function textOf(fields: Fields, id: number): string | undefined {
  const bytes = bytesOf(fields, id);
  return bytes && new TextDecoder().decode(bytes);
}

function masked(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  const value = (crc ^ 0xffffffff) >>> 0;
  return (((value >>> 15) | (value << 17)) + 0xa282ead8) >>> 0;
}
