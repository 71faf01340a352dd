"""The pages: draw, guess, mine, browse, models, class. `python -m gradejax.web` serves them."""
