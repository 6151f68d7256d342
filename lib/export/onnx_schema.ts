/**
 * The messages of ONNX that a classifier takes, as numbered in `onnx.proto` (proto2, IR version 8):
 * https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
import { protobuf } from "../deps.ts";
import { message } from "../protobuf_message.ts";

/** Element types, `TensorProto.DataType`. */
export const elementTypes = { float: 1, int64: 7 } as const;

/** Kinds of attributes, `AttributeProto.AttributeType`. */
export const attributeTypes = { float: 1, int: 2, ints: 7 } as const;

/** An attribute of a node; the field that `type` names is set. */
export interface OnnxAttribute {
  name: string;
  type: number;
  f?: number;
  i?: number;
  ints?: number[];
}

/** One operation. */
export interface OnnxNode {
  name: string;
  opType: string;
  input: string[];
  output: string[];
  attribute: OnnxAttribute[];
}

/** A constant, `rawData` little-endian and row-major. */
export interface OnnxTensor {
  name: string;
  dims: number[];
  dataType: number;
  rawData: Uint8Array;
}

/** An input or output of the graph; a symbolic dimension has a name instead of a value. */
export interface OnnxValueInfo {
  name: string;
  docString?: string;
  type: {
    tensorType: {
      elemType: number;
      shape: { dim: ({ dimValue: number } | { dimParam: string })[] };
    };
  };
}

/** A whole file. */
export interface OnnxModel {
  irVersion: number;
  opsetImport: { domain: string; version: number }[];
  producerName: string;
  producerVersion: string;
  metadataProps: { key: string; value: string }[];
  graph: {
    name: string;
    node: OnnxNode[];
    initializer: OnnxTensor[];
    input: OnnxValueInfo[];
    output: OnnxValueInfo[];
  };
}

const root = protobuf.Root.fromJSON({
  nested: {
    onnx: {
      nested: {
        Model: message({
          irVersion: [1, "int64"],
          producerName: [2, "string"],
          producerVersion: [3, "string"],
          graph: [7, "Graph"],
          opsetImport: [8, "OperatorSetId[]"],
          metadataProps: [14, "StringStringEntry[]"],
        }),
        OperatorSetId: message({ domain: [1, "string"], version: [2, "int64"] }),
        StringStringEntry: message({ key: [1, "string"], value: [2, "string"] }),
        Graph: message({
          node: [1, "Node[]"],
          name: [2, "string"],
          initializer: [5, "Tensor[]"],
          input: [11, "ValueInfo[]"],
          output: [12, "ValueInfo[]"],
        }),
        Node: message({
          input: [1, "string[]"],
          output: [2, "string[]"],
          name: [3, "string"],
          opType: [4, "string"],
          attribute: [5, "Attribute[]"],
        }),
        Attribute: message({
          name: [1, "string"],
          f: [2, "float"],
          i: [3, "int64"],
          ints: [8, "int64[]"],
          type: [20, "int32"],
        }),
        Tensor: message({
          dims: [1, "int64[]"],
          dataType: [2, "int32"],
          name: [8, "string"],
          rawData: [9, "bytes"],
        }),
        ValueInfo: message({ name: [1, "string"], type: [2, "Type"], docString: [3, "string"] }),
        Type: message({ tensorType: [1, "TensorType"] }),
        TensorType: message({ elemType: [1, "int32"], shape: [2, "TensorShape"] }),
        TensorShape: message({ dim: [1, "Dimension[]"] }),
        Dimension: message({ dimValue: [1, "int64"], dimParam: [2, "string"] }),
      },
    },
  },
});
const modelType = root.lookupType("onnx.Model");

/** The bytes of an ONNX file. */
export function encodeOnnxModel(model: OnnxModel): Uint8Array {
  return modelType.encode(model).finish();
}
