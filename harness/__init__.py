"""How a target is reached and observed: pytest plugin, targets, probe client, results, reports, command line."""
