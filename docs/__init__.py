"""The pictures of the README, and the site of reference and tutorial, made from the code."""
