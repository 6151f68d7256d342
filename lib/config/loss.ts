/** The fields of the loss, the cross-entropy of the softmax. */
import { rate, younger } from "./fields.ts";

/** Each field of the loss. */
export const lossFields = {
  labelSmoothing: younger(rate, 0).describe(
    "share of each label that is spread over all classes; 0.1 is usual for 10 epochs and more; " +
      "raises the training loss, while val_loss and all accuracies are of the true labels",
  ),
};
