/** Kernels in a form that a test demands. */
import { forceForm, type Form } from "../../lib/kernels/forms.ts";
import { type BackendTestOptions, forEachBackend } from "../backends.ts";

/** Runs with everything that has two forms in this one. */
export async function inForm<T>(form: Form, run: () => T | Promise<T>): Promise<T> {
  forceForm(form);
  try {
    return await run();
  } finally {
    forceForm(undefined);
  }
}

/**
 * {@linkcode forEachBackend}, and on webgpu once more in the form that its rule does not take. The
 * test is told its form; other backends have that of a thread.
 */
export function forEachForm(
  name: string,
  test: (form: Form, backend: Backend) => void | Promise<void>,
  options: BackendTestOptions = {},
): void {
  forEachBackend(name, (backend) => test("thread", backend), options);
  if (options.backends && !options.backends.includes("webgpu")) return;
  forEachBackend(
    `${name}, by workgroups`,
    (backend) => inForm("workgroup", () => test("workgroup", backend)),
    { ...options, backends: ["webgpu"] },
  );
}

type Backend = Parameters<Parameters<typeof forEachBackend>[1]>[0];
