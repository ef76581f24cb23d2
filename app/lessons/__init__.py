"""The tour: lessons from softmax attention to the chunkwise form of Gated DeltaNet.

To write a lesson:

1. A module here with ``LESSON = Lesson(slug, title, about, steps)``, listed in ``registry.LESSONS`` in its place, and a
   module of :mod:`gdn_core.lab.studies` that computes its numbers.
2. A step asks a ``question`` before its answer. It has at most two ``controls``, or four that together are one choice
   (``composes``), and an ``equation`` in parts, some ``Lit``; where it depends on the controls it is a function of
   them, and so is ``where``, which explains its letters.
3. A step on a reel has ``numbers(**controls)``, a function of the study that returns arrays by name. The page shows its
   source as the Python that makes them. 1-D arrays of one length, and 2-D ones beside them, are the table. Numbers of
   a clock are named in ``measured``.
4. ``picture(numbers, **controls)`` draws them as a ``Reel``: panels, and a sentence for each frame, with its numbers.
5. A step on the player has ``watch(picture, **controls)`` instead, a sentence for each token of its ``stream``.
6. ``stream(**controls)`` is the choice that the lab opens; ``claims`` are the names of what the step rests on.
7. A number in a sentence is written by :func:`app.lessons.frame.said`, a rule by ``named``, a count by ``many``.
   No file has more than 150 lines: pictures may go into a module of their own.
8. ``tests/app/test_lessons.py`` and ``tests/browser/test_tour.py`` test whatever is listed; a lesson adds its oracle.
"""
