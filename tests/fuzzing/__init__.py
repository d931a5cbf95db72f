"""What is fuzzed by atheris: `make fuzz`, for a bounded time; pytest does not collect it."""
