"""A real recording: the whole process, from the command to its text, with trained weights.

Crosslatch's command and faster-whisper read the same sound and the same weights, in turns.  The words that are
wrong are counted for each, so that nobody wins by leaving some out.
"""
