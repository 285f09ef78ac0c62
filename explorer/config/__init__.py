"""What may be asked for: settings, runs, fields, limits, data sets, labels, addresses."""
