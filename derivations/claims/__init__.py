"""The claims, by subject: the modules in reading order, each with the title of its subject."""

SUBJECTS: dict[str, str] = {}
