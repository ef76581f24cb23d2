"""What decides a step: one engine a module, each exact."""
