"""What every component of a kind promises, asked of one registered object: a sentence where a promise is broken.

``tl-robust check-plugin FOLDER`` asks it of the files of an author, the tests of this package of all that it brings.
A kind is one file of ``kinds/``; each contract in it is one function whose name reads as a sentence.
"""
