"""Linear attention: its forms, its costs, and the two failures of an additive memory."""
