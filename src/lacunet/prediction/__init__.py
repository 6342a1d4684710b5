"""From a case to masks: the predictor, windows, post-processing."""
