"""Synthetic handwriting: pen plans of characters, a writer's habits, how a pen moves and slips, the ink it leaves."""
