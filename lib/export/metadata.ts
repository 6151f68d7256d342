/** What an exported model says of itself, as every format carries it: values are JSON. */
import { parseViTConfig, type ViTConfig } from "../config/model.ts";
import {
  type Preprocessing,
  preprocessingFault,
  preprocessingSchema,
} from "../data/preprocessing.ts";
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";

/** A model's configuration, and what its use takes. */
export interface ModelMetadata {
  /** Of the model alone; fields of training are not exported. */
  config: ViTConfig;
  /** In the order of the logits. */
  classNames: readonly string[];
  /**
   * Preparation of a stored image as model input: normalized, then resized bilinearly to imageSize.
   */
  preprocessing: Preprocessing;
}

/**
 * Reads metadata that nobody vouches for.
 * @param path what errors name
 * @throws {UserError} naming the file and the fault
 */
export function parseMetadata(metadata: Record<string, unknown>, path: string): ModelMetadata {
  const config = parseConfig(jsonOf(metadata, "config", path), path);
  const classNames = z.array(z.string()).safeParse(jsonOf(metadata, "classNames", path));
  if (!classNames.success) throw unusable(path, "classNames");
  const preprocessing = preprocessingSchema.safeParse(jsonOf(metadata, "preprocessing", path));
  if (!preprocessing.success) throw unusable(path, "preprocessing");
  const fault = preprocessingFault(preprocessing.data);
  if (fault !== undefined) throw new UserError(`${path} cannot be used: its ${fault}.`);
  return { config, classNames: classNames.data, preprocessing: preprocessing.data };
}

function parseConfig(value: unknown, path: string): ViTConfig {
  try {
    return parseViTConfig(value);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `${path} holds a configuration that this version cannot use: ${error.message}`,
    );
  }
}

function jsonOf(metadata: Record<string, unknown>, key: string, path: string): unknown {
  const text = metadata[key];
  if (typeof text !== "string" || text.length > 1 << 20) throw unusable(path, key);
  try {
    return JSON.parse(text);
  } catch {
    throw unusable(path, key);
  }
}

function unusable(path: string, key: string): UserError {
  return new UserError(
    `${path} cannot be used: its metadata ${key} is missing or wrong; export the model again.`,
  );
}
