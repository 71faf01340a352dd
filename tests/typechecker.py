"""What checks the package's annotations while the tests run: beartype, which takes an int where a float is asked for."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
