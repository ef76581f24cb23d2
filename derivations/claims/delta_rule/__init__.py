"""The delta rule: a step of gradient descent, the spectrum of its transition, and products of transitions."""
