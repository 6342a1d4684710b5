"""What the module does without 3D Slicer: command lines, answers, labels. It needs Python 3.9 and NumPy."""


class LacunetProblem(Exception):
    """Something that the user can mend: what was found, what was expected, what to do."""
