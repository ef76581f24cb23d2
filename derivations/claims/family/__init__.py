"""The family: which rule contains which, and what each rule minimises."""
