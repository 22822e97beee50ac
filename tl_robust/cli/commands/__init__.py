"""One file a command: its docstring is its help, ``arguments`` adds what it takes, ``run`` returns the exit code."""
