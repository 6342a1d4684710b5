"""Trained models: their folders, weights and calibration; the models that ship lie here too."""
