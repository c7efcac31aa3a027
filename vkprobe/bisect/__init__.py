"""One step of `git bisect run`: cells of a good commit's records, measured on the build at hand, and what that says of the commit."""
