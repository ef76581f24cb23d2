"""What the lessons of the app measure: each function runs rules on a stream of its own, and returns arrays by name.

The source of a function, with what it uses of its module, is the script that the app shows beside its picture. So a
module here uses NumPy and the public names of :mod:`gdn_core`, and is otherwise complete.
"""
