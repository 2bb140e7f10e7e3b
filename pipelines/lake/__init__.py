"""The lake: the SQL models, what each file of theirs rests on, and the engines that run them."""
