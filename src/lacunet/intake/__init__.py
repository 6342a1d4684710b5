"""Hospital scans to cases: read, identified, registered, without skull, on one grid."""
