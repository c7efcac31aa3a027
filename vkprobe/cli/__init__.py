"""The command line: one file per verb, a verb is one public function, no logic."""
