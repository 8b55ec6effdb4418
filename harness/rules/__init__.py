"""The rule catalogue that every check cites, and the linter that keeps rules, tests and mutants together."""
