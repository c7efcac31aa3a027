"""Records in the formats of other tools; one small pure module a format: cells -> bytes."""
