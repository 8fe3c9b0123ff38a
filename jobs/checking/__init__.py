"""Checks of methods and metrics of the user's own, in processes of their own.

Code that is checked may end, hang or kill the process that runs it; the job survives it.
"""
