"""The pages: draw, guess, browse, models, class. `python -m gradejax.web` serves them."""
