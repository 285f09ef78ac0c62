"""The processes that train: the fork server, its trainers, and what they tell."""
