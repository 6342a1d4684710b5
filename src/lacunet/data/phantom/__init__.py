"""Invented patients: anatomy, tumour, signal, scanner."""
