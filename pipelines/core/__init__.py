"""What every layer may use: errors, settings, days, text, files that survive a crash. Imports no other package."""
