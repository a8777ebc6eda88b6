"""From segments to neural-codec tokens, and back to sound."""
