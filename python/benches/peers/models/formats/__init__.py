"""Files that are made of other files, by the tools of the runtimes that read them.

`MAKERS` of a module maps a name to what makes it, beside its source; `SOURCES` names that source.
"""
