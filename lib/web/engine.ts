/** The model of the page on one backend: what it answers for a picture, and how long that took. */
import type { AttentionMap } from "./attention_picture.ts";
import type { BackendChoice } from "../backend/select.ts";
import { attentionRollout, type Prediction, type RgbImage } from "../browser.ts";
import { type Fit, loadClassifier, type LoadedClassifier, selectBackend, tf } from "../browser.ts";
import { poolings } from "../layers/poolings.ts";
import { Classifier } from "../train/predict.ts";

/** What the model says of a picture. */
export interface Answer {
  /** The likeliest classes, the likeliest first. */
  guesses: Prediction[];
  attention: AttentionMap;
  /** Milliseconds from the picture's pixels to the guesses. */
  milliseconds: number;
}

/** How many classes are shown. */
const shownClasses = 5;

/** A loaded model. Owns what lies on the device; call `dispose`. */
export class Engine implements Disposable {
  private readonly classifier: Classifier;

  private constructor(readonly backend: BackendChoice, private readonly loaded: LoadedClassifier) {
    this.classifier = new Classifier(loaded.model, loaded);
  }

  /**
   * Loads the model onto a backend, and computes once, which compiles what the first picture would
   * have to wait for.
   * @param wanted a backend's name, or auto
   * @throws {UserError} when the backend cannot be had
   */
  static async start(
    wanted: string,
    url: string,
    onProgress: (share: number) => void,
  ): Promise<Engine> {
    const backend = await selectBackend(wanted);
    const engine = new Engine(backend, await loadClassifier(url, { onProgress }));
    const { size } = engine.classifier;
    const data = new Uint8Array(size * size * 3).fill(128);
    // The second call is the one that is captured, where that can be.
    for (let i = 0; i < 2; i++) {
      await engine.answer({ width: size, height: size, channels: 3, data });
    }
    return engine;
  }

  /** Side in pixels of the square that pictures become. */
  get size(): number {
    return this.classifier.size;
  }

  /** How a picture becomes the square that the model sees. */
  get fit(): Fit {
    return this.loaded.preprocessing.fit ?? "squash";
  }

  async answer(image: RgbImage): Promise<Answer> {
    const start = performance.now();
    const prepared = this.classifier.prepared(image);
    const [guesses] = await this.classifier.classify([prepared], shownClasses);
    const milliseconds = performance.now() - start;
    const { model, config } = this.loaded;
    const { classToken } = poolings[config.pooling];
    const map = tf.tidy(() =>
      attentionRollout(model, this.classifier.input([prepared]), classToken)
    );
    try {
      const values = await map.data<"float32">();
      return {
        guesses: guesses!,
        attention: { side: Math.sqrt(map.size), values: Float32Array.from(values) },
        milliseconds,
      };
    } finally {
      map.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.classifier[Symbol.dispose]();
    this.loaded.model.dispose();
  }
}
