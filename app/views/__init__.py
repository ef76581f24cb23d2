"""The pages: each is one function that shows a choice. No array maths here."""
