"""The gated delta rule: its chunk form is its recurrence, forward and backward."""
