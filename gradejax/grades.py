"""The fifteen grades, in the order of their class indices."""

LETTERS = ("A", "B", "C", "D", "E")
SIGNS = ("+", "", "-")
GRADES = tuple(letter + sign for letter in LETTERS for sign in SIGNS)
"""`A+ A A- B+ … E-`; the position of a grade is its class index."""

GRADE_INDEX = {grade: index for index, grade in enumerate(GRADES)}
