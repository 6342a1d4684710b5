"""Many trainings under one protocol, and published tables reproduced."""
