/** Pace of the training, from the moments at which steps were reported. */
import type { Speed } from "./progress.ts";

/** Weight of the newest step in the running means. */
const smoothing = 0.1;

/**
 * Running means over recent steps. The first step of a process compiles kernels and is not timed;
 * neither is what lies between an epoch's last step and {@linkcode Pace.begin}.
 */
export class Pace {
  private last: { time: number; step: number } | null = null;
  private hasCompiled = false;
  private timedSteps = 0;
  /** Of recent steps, each weighing less than the next: their number, milliseconds and images. */
  private recent = { steps: 0, ms: 0, images: 0 };

  /**
   * Takes up the clock at a step: when training begins, and after what was no training.
   * @param time milliseconds of a clock that never goes back
   */
  begin(step: number, time: number): void {
    this.last = { time, step };
  }

  /**
   * Counts the steps since the last call.
   * @param images of these steps
   */
  step(step: number, images: number, time: number): void {
    const { last } = this;
    this.last = { time, step };
    const steps = step - (last?.step ?? step);
    if (last === null || steps <= 0) return;
    if (!this.hasCompiled) {
      this.hasCompiled = true;
      return;
    }
    const kept = (1 - smoothing) ** steps;
    const { recent } = this;
    recent.steps = recent.steps * kept + steps;
    recent.ms = recent.ms * kept + (time - last.time);
    recent.images = recent.images * kept + images;
    this.timedSteps += steps;
  }

  /** Null until two steps are timed: one says too little. */
  get speed(): Speed | null {
    if (this.timedSteps < 2) return null;
    const { steps, ms, images } = this.recent;
    return { msPerStep: ms / steps, imagesPerSecond: images / ms * 1000 };
  }

  /** Seconds that so many steps will take; null until a step is timed. */
  secondsFor(steps: number): number | null {
    if (this.timedSteps === 0) return null;
    return steps * this.recent.ms / this.recent.steps / 1000;
  }
}
