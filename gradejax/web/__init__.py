"""The pages: draw, guess, browse. `python -m gradejax.web` serves them."""
