"""Segments brain tumours from whichever MRI sequences a patient has."""
