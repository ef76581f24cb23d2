"""The claims, one module a subject: the modules in reading order, each with the title of its subject."""

SUBJECTS: dict[str, str] = {
    "discretisation": "Discretisation",
    "scan": "S4, selective SSM, scan",
    "duality": "S4, selective SSM, scan",
    "linear_attention": "Linear attention and its two failures",
    "memory": "Linear attention and its two failures",
    "delta_rule": "Delta rule",
    "gated_delta_rule": "Gated delta rule",
    "backward": "Gated delta rule",
    "family": "The family",
    "objectives": "The family",
    "errata": "Errata",
}
