"""Attacks: what somebody who wants to recognise a coded face does before they compare it with the faces they know.

The measures of `icm.metrics` are taken under each of them, and the strongest is what a codec must be judged by.
"""
