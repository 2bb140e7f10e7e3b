"""What every layer may use: errors, settings, days, text, durable files. It imports no other package."""
