"""From hospital scans to cases: scans are read, identified, registered and skull-stripped on one grid."""
