"""Static gates: what can be said of the collection without running it. One gate, one test.

``make static`` runs them all. The tools work on a copy of the checkout under ``build/gates``, so that they see what a
fresh clone would see, find the collection by its name, and leave nothing behind in the checkout.
"""
