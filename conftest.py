"""Loads the realmcheck plugin for whatever is run from the project's root."""

pytest_plugins = ["harness.plugin"]
