"""What each command does: one module a noun; cli.py only joins them, and heavy imports wait until a command runs."""
