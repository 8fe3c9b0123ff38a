"""The metric of phase congruency, which finds features whatever their contrast."""
