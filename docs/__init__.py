"""What a reader sees first, made from the code: the pictures of the README, and the site of reference and tutorial."""
