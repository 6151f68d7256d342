/**
 * The classifier as an ONNX graph, opset 17 of the default domain, for inference.
 *
 * Input `images` `[batch, imageSize, imageSize, channels]` float32, normalized; output `logits`
 * `[batch, numClasses]`. The batch is symbolic. Initializers keep the plain names of the weights.
 * GELU and attention are written in the patterns that runtimes fuse.
 */
import { UserError } from "../errors.ts";
import {
  attributeTypes,
  elementTypes,
  encodeOnnxModel,
  type OnnxAttribute,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValueInfo,
} from "./onnx_schema.ts";
import { architectureOf, checkWeightShapes } from "../models/architecture.ts";
import { positionEmbeddings } from "../layers/position_embeddings.ts";
import { portableMetadata, type PortableModel } from "./portable_model.ts";

/** A protobuf message is at most 2 GiB, and the graph itself takes far less than 16 MiB. */
const maxWeightBytes = 2 ** 31 - 2 ** 24;

/**
 * Encodes a model as an ONNX file.
 * @param options.version version of the program that makes the file
 * @throws {UserError} if the weights are not those of the configuration, or take more than 2 GiB.
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, namedVariables, preset } from "../../mod.ts";
 * import { encodeOnnx, readWeights, selectBackend } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const config = modelConfigOf({ ...preset("tiny"), numClasses: 2 });
 * const weights = await readWeights(namedVariables(createViTClassifier(config)));
 * const [mean, variance] = [[0, 0, 0], [1, 1, 1]];
 * const preprocessing = { height: 32, width: 32, channels: 3, mean, variance };
 * const model = { config, weights, classNames: ["a", "b"], preprocessing };
 * console.log(encodeOnnx(model, { version: "0.1.0" }).length > 590_000); // true
 * ```
 */
export function encodeOnnx(
  model: PortableModel,
  options: { version?: string } = {},
): Uint8Array {
  const { config, weights } = model;
  const shapes = new Map([...weights].map(([name, { shape }]) => [name, shape]));
  checkWeightShapes(config, shapes, "The model");
  const bytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  if (bytes > maxWeightBytes) {
    throw new UserError(
      `The model's weights take ${bytes} bytes, and an ONNX file holds at most 2 GiB; ` +
        `export it as safetensors.`,
    );
  }

  const graph = new Graph();
  for (const [name, { shape, data }] of weights) graph.initializer(name, shape, data);
  classify(graph, model);
  return encodeOnnxModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    producerName: "deno-vit",
    producerVersion: options.version ?? "",
    metadataProps: Object.entries(portableMetadata(model)).map(([key, value]) => ({ key, value })),
    graph: {
      name: "vit_classifier",
      node: graph.nodes,
      initializer: [...graph.initializers.values()],
      input: [
        valueInfo(
          "images",
          [config.imageSize, config.imageSize, config.channels],
          "(pixel - mean) / sqrt(variance) of each channel, pixel values 0..255, then resized",
        ),
      ],
      output: [valueInfo("logits", [config.numClasses], "before softmax")],
    },
  });
}

function classify(g: Graph, { config: c }: PortableModel): void {
  const { pooling, prefix, heads } = architectureOf(c);
  const pool = (x: string) => pooling.onnx(g, x, { prefix, heads });
  let tokens = encodedTokens(g, c);
  for (let i = 0; i < c.transformerLayers; i++) {
    const block = `blocks.${i}`;
    const normed1 = norm(g, `${block}.norm1`, tokens, c.layerNormEpsilon);
    const attended = attention(g, `${block}.attention`, normed1, c);
    tokens = g.node(block, "Add", [layerScaled(g, `${block}.attention`, attended, c), tokens]);
    const normed2 = norm(g, `${block}.norm2`, tokens, c.layerNormEpsilon);
    const mapped = mlp(
      g,
      `${block}.mlp`,
      normed2,
      c,
      c.transformerUnits.length,
      c.mlpLastActivation,
    );
    tokens = g.node(block, "Add", [layerScaled(g, `${block}.mlp`, mapped, c), tokens]);
  }
  const lastNorm = (x: string) => norm(g, "norm", x, c.layerNormEpsilon);
  const pooled = c.finalNorm === "tokens" ? pool(lastNorm(tokens)) : lastNorm(pool(tokens));
  const features = mlp(g, "head", pooled, c, c.mlpHeadUnits.length, true);
  if (heads === 1) dense(g, "classifier", features, "logits");
  else meanOfHeads(g, features, c);
}

/** The logits of class token and distillation token, whose features stand side by side. */
function meanOfHeads(g: Graph, features: string, { projectionDim: dim }: Config): void {
  const [class_, distilled] = ["classifier", "classifier.distillation"].map((scope, i) => {
    const bounds = [[i * dim], [(i + 1) * dim], [1]].map((bound) => g.ints(bound));
    return dense(g, scope, g.node(scope, "Slice", [features, ...bounds]));
  });
  const sum = g.node("classifier", "Add", [class_!, distilled!]);
  g.node("classifier", "Mul", [sum, g.scalar(0.5)], {}, {}, "logits");
}

type Config = PortableModel["config"];

/** Tokens with the class token and positions. */
function encodedTokens(g: Graph, c: Config): string {
  const { tokenizer, side, classToken, prefix: first } = architectureOf(c);
  const { encoder: scope } = tokenizer;
  const { learned, fixed } = positionEmbeddings[c.positionEmbedding];
  let tokens = tokenizer.onnx(g, c, "images");
  const learnedTokens = [
    ...(classToken ? ["class_token"] : []),
    ...(c.distillation === "none" ? [] : ["distillation_token"]),
  ];
  if (learnedTokens.length > 0) {
    const batch = g.node(scope, "Shape", ["images"], { start: 0, end: 1 });
    const shape = g.node(scope, "Concat", [batch, g.ints([1, c.projectionDim])], { axis: 0 });
    const repeated = learnedTokens.map((name) =>
      g.node(scope, "Expand", [`${scope}.${name}`, shape])
    );
    tokens = g.node(scope, "Concat", [...repeated, tokens], { axis: 1 });
  }
  if (learned) return g.node(scope, "Add", [tokens, `${scope}.position_embedding`]);
  if (!fixed) return tokens;
  const positions = new Float32Array((side ** 2 + first) * c.projectionDim);
  positions.set(fixed(side, c.projectionDim), first * c.projectionDim);
  const shape = [side ** 2 + first, c.projectionDim];
  return g.node(scope, "Add", [tokens, g.initializer("constant/positions", shape, positions)]);
}

function layerScaled(g: Graph, scope: string, x: string, { layerScale }: Config): string {
  const name = `${scope}.layer_scale`;
  return layerScale > 0 ? g.node(name, "Mul", [x, `${name}.gamma`]) : x;
}

function attention(g: Graph, scope: string, x: string, c: Config): string {
  const { numHeads, keyDim, localityAttention } = c;
  const split = g.ints([0, 0, numHeads, keyDim]);
  const heads = (name: string, perm: number[]) => {
    const projected = c.qkvBias
      ? dense(g, `${scope}.${name}`, x)
      : g.node(`${scope}.${name}`, "MatMul", [x, `${scope}.${name}.kernel`]);
    const apart = g.node(`${scope}.${name}`, "Reshape", [projected, split]);
    return g.node(`${scope}.${name}`, "Transpose", [apart], { perm });
  };
  const query = heads("query", [0, 2, 1, 3]);
  const key = heads("key", [0, 2, 3, 1]);
  const value = heads("value", [0, 2, 1, 3]);
  const products = g.node(scope, "MatMul", [query, key]);
  const plain = g.node(scope, "Mul", [products, g.scalar(1 / Math.sqrt(keyDim))]);
  const scores = localityAttention ? localScores(g, scope, plain, c) : plain;
  const weights = g.node(scope, "Softmax", [scores], { axis: -1 });
  const mixed = g.node(scope, "MatMul", [weights, value]);
  const back = g.node(scope, "Transpose", [mixed], { perm: [0, 2, 1, 3] });
  const joined = g.node(scope, "Reshape", [back, g.ints([0, 0, numHeads * keyDim])]);
  return dense(g, `${scope}.output`, joined);
}

/** Scores `[batch, heads, tokens, tokens]` by each head's temperature, with the diagonal masked. */
function localScores(g: Graph, scope: string, scores: string, c: Config): string {
  const { tokens } = architectureOf(c);
  const perHead = g.node(scope, "Reshape", [`${scope}.scale`, g.ints([c.numHeads, 1, 1])]);
  const mask = new Float32Array(tokens ** 2);
  // Not infinity, which some runtimes' softmax takes badly; its power is 0 all the same.
  for (let i = 0; i < mask.length; i += tokens + 1) mask[i] = -1e30;
  const added = g.initializer("constant/diagonal", [tokens, tokens], mask);
  return g.node(scope, "Add", [g.node(scope, "Mul", [scores, perHead]), added]);
}

function mlp(
  g: Graph,
  scope: string,
  x: string,
  { gelu: form }: Config,
  count: number,
  lastActivation: boolean,
): string {
  const gelu = form === "tanh" ? tanhGelu : exactGelu;
  for (let i = 0; i < count; i++) {
    x = dense(g, `${scope}.${i}`, x);
    if (lastActivation || i < count - 1) x = gelu(g, `${scope}.${i}`, x);
  }
  return x;
}

/** By tanh, x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2. */
function tanhGelu(g: Graph, scope: string, x: string): string {
  const cube = g.node(scope, "Mul", [g.node(scope, "Mul", [x, x]), x]);
  const bent = g.node(scope, "Add", [x, g.node(scope, "Mul", [cube, g.scalar(0.044715)])]);
  const scaled = g.node(scope, "Mul", [bent, g.scalar(Math.sqrt(2 / Math.PI))]);
  const shifted = g.node(scope, "Add", [g.node(scope, "Tanh", [scaled]), g.scalar(1)]);
  return g.node(scope, "Mul", [g.node(scope, "Mul", [x, shifted]), g.scalar(0.5)]);
}

/** Exact, x * (1 + erf(x / sqrt 2)) / 2. */
function exactGelu(g: Graph, scope: string, x: string): string {
  const scaled = g.node(scope, "Div", [x, g.scalar(Math.SQRT2)]);
  const shifted = g.node(scope, "Add", [g.node(scope, "Erf", [scaled]), g.scalar(1)]);
  return g.node(scope, "Mul", [g.node(scope, "Mul", [x, shifted]), g.scalar(0.5)]);
}

function norm(g: Graph, scope: string, x: string, epsilon: number): string {
  const inputs = [x, `${scope}.gamma`, `${scope}.beta`];
  return g.node(scope, "LayerNormalization", inputs, { axis: -1 }, { epsilon });
}

function dense(g: Graph, scope: string, x: string, output?: string): string {
  const product = g.node(scope, "MatMul", [x, `${scope}.kernel`]);
  return g.node(scope, "Add", [product, `${scope}.bias`], {}, {}, output);
}

/** Collects nodes and constants under unique names. */
class Graph {
  readonly nodes: OnnxNode[] = [];
  readonly initializers = new Map<string, OnnxTensor>();
  readonly #uses = new Map<string, number>();

  /** Adds an operation; returns the name of its output, `scope/opType` and a number if needed. */
  node(
    scope: string,
    opType: string,
    input: string[],
    integers: Record<string, number | number[]> = {},
    floats: Record<string, number> = {},
    output?: string,
  ): string {
    const plain = `${scope}/${opType}`;
    const uses = this.#uses.get(plain) ?? 0;
    this.#uses.set(plain, uses + 1);
    const name = uses === 0 ? plain : `${plain}_${uses}`;
    const attribute: OnnxAttribute[] = [
      ...Object.entries(integers).map(([name, value]) =>
        Array.isArray(value)
          ? { name, type: attributeTypes.ints, ints: value }
          : { name, type: attributeTypes.int, i: value }
      ),
      ...Object.entries(floats).map(([name, f]) => ({ name, type: attributeTypes.float, f })),
    ];
    this.nodes.push({ name, opType, input, output: [output ?? name], attribute });
    return output ?? name;
  }

  /** Adds a float32 constant. */
  initializer(name: string, shape: readonly number[], data: Float32Array): string {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const dataType = elementTypes.float;
    this.initializers.set(name, { name, dims: [...shape], dataType, rawData });
    return name;
  }

  /** A float32 scalar. */
  scalar(value: number): string {
    return this.initializer(`constant/${value}`, [], Float32Array.of(value));
  }

  /** An int64 constant: a list of `shape`'s length, or `values` in a shape of their own. */
  ints(shape: number[], values?: number[]): string {
    const list = values ?? shape;
    const dims = values ? shape : [shape.length];
    const name = `constant/${values ? "scalar" : "shape"}_${list.join("_")}`;
    const rawData = new Uint8Array(BigInt64Array.from(list, BigInt).buffer);
    this.initializers.set(name, { name, dims, dataType: elementTypes.int64, rawData });
    return name;
  }
}

function valueInfo(name: string, shape: number[], docString: string): OnnxValueInfo {
  const dim = [{ dimParam: "batch" }, ...shape.map((dimValue) => ({ dimValue }))];
  return {
    name,
    docString,
    type: { tensorType: { elemType: elementTypes.float, shape: { dim } } },
  };
}
