"""The fifteen grades, in the order that gives each its class index."""

LETTERS = ("A", "B", "C", "D", "E")
SIGNS = ("+", "", "-")
GRADES = tuple(letter + sign for letter in LETTERS for sign in SIGNS)
"""`A+ A A- B+ … E-`; a grade's place in it is its class index."""

GRADE_INDEX = {grade: index for index, grade in enumerate(GRADES)}
