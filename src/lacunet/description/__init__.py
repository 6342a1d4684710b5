"""How a tumour is described: where in the brain, how large in a radiologist's terms, and VASARI's features."""
