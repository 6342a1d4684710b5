"""Names of files and descriptions of series, of several makers and in many languages: which sequence each names, and
whether it says that contrast agent was given.

Each line: the text, the sequence, and for T1 `after` or `before` contrast agent, or `?` where the words do not tell.
"""
