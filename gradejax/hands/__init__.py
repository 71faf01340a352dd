"""Synthetic handwriting: pen plans, a writer's habits, how a pen moves and slips, the ink it leaves."""
