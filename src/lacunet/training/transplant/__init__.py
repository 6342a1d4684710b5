"""Lesions of other cases, put into the brain of a crop as training examples.

Zhang et al., *CarveMix: A Simple Data Augmentation Method for Brain Lesion Segmentation* (MICCAI 2021), replace the
region of a lesion in one scan by that of another; Yang et al., *TumorCP: A Simple but Effective Object-Level Data
Augmentation for Tumor Segmentation* (MICCAI 2021), copy and paste tumours, also within a scan. Here, in addition, a
place is looked for, intensities are matched to the tissue around it, and edges are mixed softly.
"""
