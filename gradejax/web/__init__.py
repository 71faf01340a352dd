"""The pages: draw, guess, browse, class. `python -m gradejax.web` serves them."""
