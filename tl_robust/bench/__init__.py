"""What a bench asks for and what came of it: its frozen settings, the plan of its nodes, its run."""
