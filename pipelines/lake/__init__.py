"""The lake: the SQL models, the inputs of each of their files, and the engines that run them."""
