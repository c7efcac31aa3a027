"""Two sets of records held against each other: what pairs, what differs, and which conditions that meets. Pure."""
