"""Where tasks are done: here, in processes, on Ray, as a SLURM array. No task knows which."""
