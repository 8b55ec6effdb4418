"""The Realm Management Monitor as an executable model (DEN0137), with its revision as a parameter."""
