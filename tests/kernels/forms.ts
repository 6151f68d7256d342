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

/** {@linkcode forEachBackend}, and on webgpu once more in the form that its rule does not take. */
export function forEachForm(
  name: string,
  test: Parameters<typeof forEachBackend>[1],
  options: BackendTestOptions = {},
): void {
  forEachBackend(name, test, options);
  if (options.backends && !options.backends.includes("webgpu")) return;
  forEachBackend(
    `${name}, by workgroups`,
    (backend) => inForm("workgroup", () => test(backend)),
    { ...options, backends: ["webgpu"] },
  );
}
