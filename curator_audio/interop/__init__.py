"""Stages of other libraries in our pipelines, and ours in theirs."""
