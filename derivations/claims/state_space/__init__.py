"""State space models: as write rules, convolutions, scans and masked attention."""
