"""From a recipe to a model: crops, augmentation, the loop, checkpoints, the log."""
