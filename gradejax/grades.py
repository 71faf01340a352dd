"""The fifteen grades, in the order of their class indices, and the label of drawings that show none."""

LETTERS = ("A", "B", "C", "D", "E")
SIGNS = ("+", "", "-")
GRADES = tuple(letter + sign for letter in LETTERS for sign in SIGNS)
"""`A+ A A- B+ … E-`; the position of a grade is its class index."""

GRADE_INDEX = {grade: index for index, grade in enumerate(GRADES)}

NO_GRADE = "no grade"
"""The label of a drawing that deliberately shows no grade. It is not a class; in arrays it is -1."""

LABELS = (*GRADES, NO_GRADE)
"""What a drawing may be labelled."""
