"""PLACE of operational truth: what two runs could race for, or a person's no depends on."""
