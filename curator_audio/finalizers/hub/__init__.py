"""Publishing a run's files to a dataset repository on the Hugging Face Hub."""
